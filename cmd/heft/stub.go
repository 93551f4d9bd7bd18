package main

import "github.com/spf13/pflag"

type check struct{}

func (*check) flags(*pflag.FlagSet)            {}
func (*check) run(c *cli, args []string) error { return nil }
