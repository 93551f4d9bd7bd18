package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// help is the verb that explains the others.
type help struct{}

func (*help) flags(*pflag.FlagSet) {}

func (*help) run(c *cli, args []string) error {
	switch len(args) {
	case 0:
		overview(c, c.out)
		return nil
	case 1:
		v, err := findVerb(args[0])
		if err != nil {
			return err
		}
		return verbHelp(c, v)
	}
	return usagef("help takes one verb, not %d", len(args))
}

// overview writes what fits a screen: the verbs, and what they have in common.
func overview(c *cli, w io.Writer) {
	var b strings.Builder
	b.WriteString("heft VERB MODEL [PATTERN...] [flags]\n\n")
	for _, v := range verbs {
		fmt.Fprintf(&b, "  %-28s %s\n", v.name+" "+v.args, v.brief)
	}
	b.WriteString(`
MODEL is a .safetensors file (or several: the shards of one model), an index.json,
a directory, or a models--ORG--NAME directory of the hub's cache.
PATTERN is a glob over names: * crosses dots, a trailing dot selects a module.

  --json       one JSON document        --color WHEN  auto, always, never
  -q, --quiet  no progress, no summary  -h, --help    help with a verb

Status: 0 yes; 1 a negative answer, or nothing selected; 2 trouble.
`)
	io.WriteString(w, b.String())
}

// verbHelp writes the help of one verb: three examples, then its flags.
func verbHelp(c *cli, v *verb) error {
	fmt.Fprintf(c.out, "%s\n%s\n\n", strings.TrimSpace("heft "+v.name+" "+v.args), v.brief)
	for _, e := range v.examples {
		fmt.Fprintf(c.out, "  %s\n", e)
	}
	cmd := v.make()
	if n, ok := cmd.(interface{ notes() string }); ok { // what flags do not say
		c.out.WriteString("\n" + n.notes())
	}
	own := pflag.NewFlagSet(v.name, pflag.ContinueOnError)
	own.SortFlags = false
	cmd.flags(own)
	c.out.WriteString("\n")
	own.VisitAll(func(f *pflag.Flag) {
		arg, usage := pflag.UnquoteUsage(f)
		short := "   "
		if f.Shorthand != "" {
			short = "-" + f.Shorthand + ","
		}
		usage = strings.ReplaceAll(usage, "\n", "\n"+strings.Repeat(" ", 26))
		fmt.Fprintf(c.out, "  %s --%-17s %s\n", short, strings.TrimSpace(f.Name+" "+arg), usage)
	})
	if own.HasFlags() {
		c.out.WriteString("\n")
	}
	c.out.WriteString("Flags of every verb: --json, --color WHEN, -q, -h, --version (see heft help)\n")
	return nil
}
