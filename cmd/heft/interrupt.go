package main

import (
	"context"
	"os"
	"os/signal"
)

// dieOnInterrupt makes an interrupt end the program at once, with a status of
// its own. Where interrupts were ignored when it started, as a shell does for a
// program in the background, they still are.
func (c *cli) dieOnInterrupt() {
	if signal.Ignored(os.Interrupt) {
		return
	}
	c.interrupts = make(chan os.Signal, 1)
	signal.Notify(c.interrupts, os.Interrupt)
	go func() {
		<-c.interrupts
		os.Exit(statusInterrupted)
	}()
}

// interruptible returns a context that an interrupt ends, for verbs that have
// to tidy up. The caller calls the function when it is done. A second interrupt
// ends the program at once.
func (c *cli) interruptible() (context.Context, context.CancelFunc) {
	if c.interrupts == nil {
		return context.WithCancel(context.Background())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	signal.Stop(c.interrupts)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
