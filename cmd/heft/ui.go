package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"
)

// This file is what the command says to people, and how. The rules are:
//
//   - Data goes to standard output; everything else to standard error, each
//     line behind "heft: error: " or "heft: hint: ", in lower case and without
//     a period at the end.
//   - What comes from a file or a command line is escaped before it is shown:
//     see appendText.
//   - Lines are cut to the width of a terminal, and never on a pipe.
//   - Colour carries no meaning of its own.

// A cli is one run of the command: its streams and the flags of every verb.
type cli struct {
	out      *bufio.Writer
	err      io.Writer
	screen   screen // of out
	errTTY   bool
	redError bool

	json, quiet, help, version bool
	colorWhen                  string

	interrupts chan os.Signal // see dieOnInterrupt
}

func newCLI(stdout, stderr *os.File) *cli {
	c := &cli{
		out:       bufio.NewWriterSize(stdout, 64<<10),
		err:       stderr,
		errTTY:    term.IsTerminal(int(stderr.Fd())),
		colorWhen: "auto",
	}
	c.screen = screen{tty: term.IsTerminal(int(stdout.Fd())), ascii: !localeIsUTF8()}
	if c.screen.tty {
		c.screen.width = terminalWidth(stdout)
	}
	c.setColor()
	return c
}

// terminalWidth returns the columns of a terminal: what COLUMNS says, or else the terminal itself.
func terminalWidth(f *os.File) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return n
}

// localeIsUTF8 reports whether the terminal takes other characters than ASCII.
func localeIsUTF8() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} { // the first that is set decides
		if v := strings.ToLower(os.Getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return runtime.GOOS == "windows"
}

// setColor decides by --color about colour on both streams.
func (c *cli) setColor() error {
	auto := os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "" && os.Getenv("TERM") != "dumb"
	switch c.colorWhen {
	case "always":
		c.screen.color, c.redError = true, true
	case "never":
		c.screen.color, c.redError = false, false
	case "auto":
		c.screen.color, c.redError = auto && c.screen.tty, auto && c.errTTY
	default:
		return usagef("--color: %q is none of auto, always, never", c.colorWhen)
	}
	return nil
}

// report writes an error to standard error, with its hint. Errors that were joined have a line each.
func (c *cli) report(err error) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			c.report(err)
		}
		return
	}
	f, ok := err.(*failure)
	if !ok {
		f = &failure{err: err}
	}
	if f.err != nil {
		word := "error:"
		if c.redError {
			word = red + word + reset
		}
		c.say(word, f.err.Error())
	}
	if f.hint != "" {
		c.say("hint:", f.hint)
	}
}

// say writes a line to standard error. What could be a name of megabytes loses its middle.
func (c *cli) say(word, text string) {
	const most = 4 << 10
	if len(text) > most {
		text = text[:most/2] + "..." + text[len(text)-most/2:]
	}
	line := append([]byte("heft: "), word...)
	line = append(line, ' ')
	line = appendEscaped(line, text, c.screen.ascii, "")
	c.err.Write(append(line, '\n'))
}

// didYouMean returns a hint at the candidate that is closest to word, or "".
func didYouMean(word string, candidates iter.Seq[string]) string {
	if near, ok := closest(word, candidates); ok {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return ""
}

// document writes v as a JSON document.
func (c *cli) document(v any) error {
	b, err := encodeJSON(v)
	c.out.Write(b)
	return err
}

// encodeJSON returns v as a line of JSON that a terminal may show.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return escapeJSON(nil, b.Bytes(), false), nil
}

// escapeJSON appends a JSON text, with the runes that could do something to a
// terminal as \u escapes: they can only stand in strings, and mean the same to
// every reader.
func escapeJSON(dst, text []byte, ascii bool) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == '\n' || isPrint(r, n, ascii) {
			dst = append(dst, text[:n]...)
		} else {
			for _, unit := range utf16.AppendRune(nil, r) {
				dst = fmt.Appendf(dst, `\u%04x`, unit)
			}
		}
		text = text[n:]
	}
	return dst
}
