package main

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
)

// Every verb has three examples that its flags allow, and help that fits:
// under 25 lines, none wider than a terminal.
func TestHelp(t *testing.T) {
	var b bytes.Buffer
	c := &cli{out: bufio.NewWriter(&b)}
	overview(c, c.out)
	checkHelp(t, c, &b, "help")
	for i := range verbs {
		v := &verbs[i]
		if err := verbHelp(c, v); err != nil {
			t.Fatal(err)
		}
		checkHelp(t, c, &b, v.name)
		for _, example := range v.examples {
			line, _, _ := strings.Cut(example, "  #")
			line, _, _ = strings.Cut(line, " |")
			words := strings.Fields(line)
			if len(words) < 2 || words[0] != "heft" || words[1] != v.name && words[1] != "--"+v.name {
				if v.name != "help" {
					t.Errorf("example of %s: %s", v.name, example)
				}
				continue
			}
			if err := c.flagSet(v, v.make()).Parse(words[2:]); err != nil {
				t.Errorf("%s: %v", example, err)
			}
		}
	}
}

func checkHelp(t *testing.T, c *cli, b *bytes.Buffer, what string) {
	t.Helper()
	c.out.Flush()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) >= 25 {
		t.Errorf("%s: %d lines", what, len(lines))
	}
	for _, line := range lines {
		if len(line) > 82 || strings.TrimRight(line, " ") != line {
			t.Errorf("%s: %d columns: %s", what, len(line), line)
		}
	}
	b.Reset()
}
