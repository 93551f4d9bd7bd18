// Heft looks into safetensors files: what a model holds, where its bytes lie
// and whether they are sound.
//
// Usage:
//
//	heft VERB MODEL [PATTERN...] [flags]
//
// MODEL is a .safetensors file, an index.json, a directory with any of these,
// or a directory of the hub's cache (models--ORG--NAME). Run "heft help" for
// the verbs, and "heft help VERB" for one of them.
//
// The exit status is 0 for yes, 1 for a negative answer (differences,
// violations, nothing selected), 2 for trouble and 130 when interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// A verb is a row of the table of verbs.
type verb struct {
	name     string
	args     string    // what follows it
	brief    string    // what it does, in a line of "heft help"
	examples [3]string // for its own help, each "command line # what that does"
	make     func() command
}

// A command is one run of a verb. Its fields are set by its flags.
type command interface {
	flags(f *pflag.FlagSet)          // defines the verb's own flags, in order of importance
	run(c *cli, args []string) error // does the work; args are what is left of the command line
}

// verbs is the table of verbs, in the order of "heft help".
var verbs = []verb{
	{"inspect", "MODEL [PATTERN...]", "what a model holds: files, tensors, types, sizes", [3]string{
		"heft inspect Llama-3.1-8B/  # a summary, then every tensor",
		"heft inspect -s size -n 10 -o +cached model.safetensors  # the ten largest",
		"heft inspect -0 Llama-3.1-8B/ 'model.layers.3.' | xargs -0 -n1 echo",
	}, func() command { return new(inspect) }},
	{"tree", "MODEL [PATTERN...]", "modules with their sums, like layers folded", [3]string{
		"heft tree Llama-3.1-8B/  # the whole model on a screen",
		"heft tree -d 2 Llama-3.1-8B/  # two levels of it",
		"heft tree -a Llama-3.1-8B/ 'model.layers.[0-3].'  # layer by layer",
	}, func() command { return new(tree) }},
	{"meta", "MODEL [KEY]", "the model's metadata", [3]string{
		"heft meta lora.safetensors  # every key with its value",
		"heft meta lora.safetensors ss_base_model_version  # one bare value",
		"heft meta --decode --json lora.safetensors | jq .metadata",
	}, func() command { return new(meta) }},
	{"cat", "MODEL TENSOR[SLICE]", "the values of a tensor, or of a slice of it", [3]string{
		"heft cat model.safetensors 'h.0.w[0,:8]'  # eight values of the first row",
		"heft cat --format %.3g model.safetensors 'h.0.w[-1]'  # the last row, short",
		"heft cat --raw model.safetensors h.0.w | sha256sum",
	}, func() command { return new(cat) }},
	{"check", "MODEL...", "every departure from the format", [3]string{
		"heft check model.safetensors",
		"heft check --strict Llama-3.1-8B/  # warnings count as errors",
		"heft check --json *.safetensors  # each file for itself",
	}, func() command { return new(check) }},
	{"sum", "MODEL [PATTERN...]", "checksums of tensors, whatever files they are in", [3]string{
		"heft sum Llama-3.1-8B/ >sums",
		"heft sum --check sums merged.safetensors",
		"heft sum model.safetensors lm_head. | cut -c-64",
	}, func() command { return new(sums) }},
	{"cache", "MODEL [PATTERN...]", "what is in the page cache, and who maps it", [3]string{
		"heft cache -d 2 Llama-3.1-8B/  # two levels of modules",
		"heft cache -s cached model.safetensors  # tensors with most bytes cached first",
		"heft cache --who -d 0 Llama-3.1-8B/  # who maps it, and what each pays",
	}, func() command { return new(cache) }},
	{"warm", "MODEL [PATTERN...]", "read into the page cache", [3]string{
		"heft warm Llama-3.1-8B/",
		"heft warm --limit 4G Llama-3.1-8B/  # what comes first, as far as it fits",
		"heft warm --pin Llama-3.1-8B/ 'model.layers.0.'  # until interrupted",
	}, func() command { return new(warm) }},
	{"evict", "MODEL [PATTERN...]", "drop from the page cache", [3]string{
		"heft evict Llama-3.1-8B/",
		"heft evict Llama-3.1-8B/ model.layers.",
		"heft evict --json Llama-3.1-8B/ | jq .evicted",
	}, func() command { return new(evict) }},
	{"bench", "MODEL [PATTERN...]", "mmap, read and direct I/O side by side", [3]string{
		"heft bench Llama-3.1-8B/  # from the page cache",
		"heft bench --cold Llama-3.1-8B/  # from the disk",
		"heft bench -n 9 model.safetensors 'h.*'  # medians of nine runs",
	}, func() command { return new(bench) }},
	{"repack", "MODEL [PATTERN...]", "write it anew: extract, merge, split, cast, rename", [3]string{
		"heft repack -o merged.safetensors Llama-3.1-8B/",
		"heft repack -o bf16/ --shard-size 5G --cast BF16 Llama-3.1-8B/",
		"heft repack -o h0.safetensors --rename h.0.=h. m.safetensors h.0.",
	}, func() command { return new(repack) }},
	{"help", "[VERB]", "this overview, or help with a verb", [3]string{
		"heft help",
		"heft help inspect",
		"heft inspect --help",
	}, func() command { return new(help) }},
	{"version", "", "the version of this program", [3]string{
		"heft version",
		"heft --version",
		"heft version --json",
	}, func() command { return new(version) }},
}

// Exit statuses, as those of grep and diff.
const (
	statusYes         = 0
	statusNo          = 1
	statusTrouble     = 2
	statusInterrupted = 130
)

// A failure is an error with what the person at the terminal may do about it.
type failure struct {
	err    error // nil: a negative answer that has been given already
	hint   string
	status int // 0 is statusTrouble
}

func (f *failure) Error() string {
	if f.err == nil {
		return "the answer is no"
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// usagef returns the error for a command line that makes no sense.
func usagef(format string, args ...any) error { return &failure{err: fmt.Errorf(format, args...)} }

func main() {
	surviveClosedPipe()
	os.Exit(run(os.Args[1:]))
}

// run does what the command line says and returns the exit status.
func run(args []string) int {
	c := newCLI(os.Stdout, os.Stderr)
	c.dieOnInterrupt()
	err := c.dispatch(args)
	if werr := c.out.Flush(); isClosedPipe(werr) {
		return statusYes // whoever reads has seen enough
	} else if werr != nil {
		err = werr
	}
	if !errors.Is(err, context.Canceled) { // who interrupts knows why it ends
		c.report(err)
	}
	return status(err)
}

// status returns the exit status for what a verb returned.
func status(err error) int {
	var f *failure
	switch {
	case err == nil:
		return statusYes
	case errors.Is(err, context.Canceled):
		return statusInterrupted
	case errors.As(err, &f) && f.status != 0:
		return f.status
	}
	return statusTrouble
}

// dispatch finds the verb and runs it.
func (c *cli) dispatch(args []string) error {
	if len(args) == 0 {
		overview(c, c.err)
		return &failure{status: statusTrouble}
	}
	switch args[0] {
	case "-h", "--help":
		args = append([]string{"help"}, args[1:]...)
	case "--version":
		args = append([]string{"version"}, args[1:]...)
	}
	v, err := findVerb(args[0])
	if err != nil {
		return err
	}
	return c.do(v, args[1:])
}

// findVerb looks a verb up in the table.
func findVerb(name string) (*verb, error) {
	if i := slices.IndexFunc(verbs, func(v verb) bool { return v.name == name }); i >= 0 {
		return &verbs[i], nil
	}
	f := &failure{err: fmt.Errorf("no verb %q", name), hint: didYouMean(name, verbNames)}
	if _, err := os.Stat(name); err == nil {
		f.hint = fmt.Sprintf("the verb comes first: heft inspect %s", name)
	} else if strings.HasPrefix(name, "-") {
		f.hint = "the verb comes first, flags after it"
	} else if f.hint == "" {
		f.hint = `"heft help" lists the verbs`
	}
	return nil, f
}

func verbNames(yield func(string) bool) {
	for _, v := range verbs {
		if !yield(v.name) {
			return
		}
	}
}

// do runs a verb with the rest of the command line.
func (c *cli) do(v *verb, args []string) error {
	cmd := v.make()
	f := c.flagSet(v, cmd)
	if err := f.Parse(args); err != nil {
		return flagError(v, f, err)
	}
	if err := c.setColor(); err != nil {
		return err
	}
	switch {
	case c.help:
		return verbHelp(c, v)
	case c.version:
		return new(version).run(c, nil)
	case f.NArg() == 0 && strings.HasPrefix(v.args, "MODEL"):
		return &failure{err: fmt.Errorf("%s needs a MODEL", v.name), hint: "heft help " + v.name}
	}
	return cmd.run(c, f.Args())
}
