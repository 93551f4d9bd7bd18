package main

import (
	"io"
	"os"
	"time"
)

// This file is written by hand because the libraries for it do not fit a
// program that mostly answers in milliseconds: schollz/progressbar brings a web
// server along, which doubles the program and takes 1.4 ms to start where it is
// never used; and nothing of it would be left but the arithmetic, since it cannot
// wait before it shows.

const (
	progressAfter = 500 * time.Millisecond // what is done by then needs no progress
	progressEvery = 200 * time.Millisecond
)

// progress shows on standard error how much of total is done, with rate and
// time left, until the function that it returns is called, which erases it. It
// shows on a terminal only, and only what takes long. done is called by another
// goroutine, never after the end.
func (c *cli) progress(what string, total int64, done func() int64) (end func()) {
	f, ok := c.err.(*os.File)
	if !ok || !c.errTTY || c.quiet || os.Getenv("TERM") == "dumb" {
		return func() {}
	}
	p := &progress{what: what, total: total, ascii: c.screen.ascii, width: terminalWidth(f), since: time.Now()}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for wait := progressAfter; ; wait = progressEvery {
			select {
			case <-stop:
				p.erase(f)
				return
			case <-time.After(wait):
				f.Write(p.line(done(), time.Now()))
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// progress is what is known of work under way.
type progress struct {
	what  string
	total int64
	ascii bool
	width int // columns of the terminal; 0: not known
	shown bool

	done  int64     // when last shown
	since time.Time // that was
	rate  float64   // bytes a second, of late
}

// line returns the line to show when so much is done.
func (p *progress) line(done int64, now time.Time) []byte {
	done = min(max(done, p.done), p.total)
	const recent = 0.3 // of the rate is what it was since the line before
	rate := float64(done-p.done) / max(now.Sub(p.since).Seconds(), 1e-9)
	if p.shown {
		rate = recent*rate + (1-recent)*p.rate
	}
	p.done, p.since, p.rate, p.shown = done, now, rate, true
	b := appendBar(append([]byte(p.what), ' '), done, p.total, 16, p.ascii)
	b = append(appendPercent(append(b, ' '), done, p.total, 0), "  "...)
	b = append(appendSize(b, done), " of "...)
	b = append(appendSize(b, p.total), "  "...)
	b = append(appendSize(b, int64(rate)), "/s"...)
	if left := float64(p.total-done) / rate; left < 1e6 { // seconds; of a rate of nothing, infinitely many
		b = append(b, "  "...)
		b = append(b, time.Duration(left*float64(time.Second)).Round(time.Second).String()...)
		b = append(b, " left"...)
	}
	s := string(b)
	if p.width > 0 {
		s = clip(s, p.width-1) // in the last column some terminals wrap
	}
	return []byte("\r" + s + "\x1b[K")
}

// erase takes the line away, if there is one.
func (p *progress) erase(w io.Writer) {
	if p.shown {
		io.WriteString(w, "\r\x1b[K")
	}
}
