package main

import (
	"bytes"
	"errors"
	"io/fs"
)

// A lookalike is what often lies where a model should be.
type lookalike struct {
	begin string // in lower case
	what  string // it is, and what to do
}

var lookalikes = []lookalike{
	{"version https://git-lfs.", "a Git LFS pointer: run git lfs pull"},
	{"<!doctype html", "an HTML page: download the file itself, not the page about it"},
	{"<html", "an HTML page: download the file itself, not the page about it"},
}

// recognize says what a file is that is no model, judging by its first bytes,
// or "" if it is nothing well known.
func recognize(path string) string {
	f, _, err := openRegular(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	var first [512]byte
	n, _ := f.Read(first[:])
	text := bytes.ToLower(bytes.TrimSpace(bytes.TrimPrefix(first[:n], []byte("\ufeff"))))
	for _, l := range lookalikes {
		if bytes.HasPrefix(text, []byte(l.begin)) {
			return l.what
		}
	}
	return ""
}

// explain adds a hint to an error about a file that is no model but something
// well known.
func explain(err error) error {
	var at *fs.PathError
	if isBroken(err) && errors.As(err, &at) {
		if what := recognize(at.Path); what != "" {
			return &failure{err: err, hint: "this is " + what}
		}
	}
	return err
}
