package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/pflag"
)

// flagSet returns the flags of a verb: its own, then those of every verb.
func (c *cli) flagSet(v *verb, cmd command) *pflag.FlagSet {
	f := pflag.NewFlagSet(v.name, pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.SortFlags = false
	cmd.flags(f)
	c.flags(f)
	return f
}

// flags defines the flags that every verb has.
func (c *cli) flags(f *pflag.FlagSet) {
	f.BoolVar(&c.json, "json", false, "one JSON document; sizes in bytes, names verbatim")
	f.StringVar(&c.colorWhen, "color", "auto", "`WHEN` to use colour: auto, always, never")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "no progress, no summary")
	f.BoolVarP(&c.help, "help", "h", false, "help with this verb")
	f.BoolVar(&c.version, "version", false, "the version of this program")
}

// flagError puts what pflag says about a command line into the words of this program.
func flagError(v *verb, f *pflag.FlagSet, err error) error {
	var unknown *pflag.NotExistError
	var value *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown):
		if unknown.GetSpecifiedShortnames() != "" {
			return &failure{err: fmt.Errorf("%s has no flag -%c", v.name, []rune(unknown.GetSpecifiedShortnames())[0]), hint: "heft help " + v.name}
		}
		flags := func(yield func(string) bool) {
			more := true
			f.VisitAll(func(g *pflag.Flag) { more = more && yield("--"+g.Name) })
		}
		name := "--" + unknown.GetSpecifiedName()
		hint := didYouMean(name, flags)
		if hint == "" {
			hint = "heft help " + v.name
		}
		return &failure{err: fmt.Errorf("%s has no flag %s", v.name, name), hint: hint}
	case errors.As(err, &value):
		var number *strconv.NumError
		if errors.As(err, &number) {
			return usagef("--%s: %q is not a number that it takes", value.GetFlag().Name, value.GetValue())
		}
		return usagef("--%s: %w", value.GetFlag().Name, value.Unwrap())
	case errors.As(err, &missing):
		name, _ := pflag.UnquoteUsage(missing.GetFlag())
		return usagef("--%s needs a value: %s", missing.GetFlag().Name, name)
	}
	return usagef("%w", err)
}
