package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/pflag"
)

// version is the verb that says which program this is.
type version struct{}

func (*version) flags(*pflag.FlagSet) {}

func (*version) run(c *cli, args []string) error {
	if len(args) > 0 {
		return usagef("version takes no arguments")
	}
	module := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok {
		module = info.Main.Version
	}
	if c.json {
		return c.document(struct {
			Schema   int    `json:"schema"`
			Version  string `json:"version"`
			Go       string `json:"go"`
			Platform string `json:"platform"`
		}{schema, module, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
	}
	_, err := fmt.Fprintf(c.out, "heft %s %s %s/%s\n", module, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
