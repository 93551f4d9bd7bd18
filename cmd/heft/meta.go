package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// meta is the verb that shows metadata.
type meta struct {
	decode bool
}

func (v *meta) flags(f *pflag.FlagSet) {
	f.BoolVar(&v.decode, "decode", false, "expand JSON that is held in strings")
}

func (v *meta) run(c *cli, args []string) error {
	l, rest, err := openHeaders(args)
	if err != nil {
		return err
	}
	defer l.close()
	switch len(rest) {
	case 0:
		return v.list(c, l)
	case 1:
		return v.value(c, l, rest[0])
	}
	return usagef("meta takes one KEY, not %d", len(rest))
}

// list shows all keys with their values.
func (v *meta) list(c *cli, l *listing) error {
	if c.json {
		var values map[string]any // null without metadata
		if l.metadata != nil {
			values = make(map[string]any, len(l.metadata))
			for k, s := range l.metadata {
				values[k] = v.expand(s)
			}
		}
		return c.document(struct {
			Schema   int            `json:"schema"`
			Path     string         `json:"path"`
			Metadata map[string]any `json:"metadata"`
		}{schema, l.name, values})
	}
	t := newTable(c.screen, head{}, head{})
	t.bare = true
	for _, k := range slices.SortedFunc(maps.Keys(l.metadata), natural) {
		for i, line := range strings.Split(v.text(l.metadata[k], t.ascii), "\n") {
			if i == 0 {
				t.name(k)
			} else {
				t.plain("")
			}
			t.plain(line)
		}
	}
	t.write(c.out)
	return nil
}

// value shows one value: on a pipe, verbatim.
func (v *meta) value(c *cli, l *listing, key string) error {
	s, ok := l.metadata[key]
	switch {
	case !ok:
		return &failure{
			err:    fmt.Errorf("no metadata %q in %s", key, l.name),
			hint:   didYouMean(key, maps.Keys(l.metadata)),
			status: statusNo,
		}
	case c.json:
		return c.document(struct {
			Schema int    `json:"schema"`
			Path   string `json:"path"`
			Key    string `json:"key"`
			Value  any    `json:"value"`
		}{schema, l.name, key, v.expand(s)})
	case v.decode || c.screen.tty:
		s = v.text(s, c.screen.ascii)
	}
	c.out.WriteString(s)
	return c.out.WriteByte('\n')
}

// isJSON reports whether s holds a JSON object or array, and --decode asks for it.
func (v *meta) isJSON(s string) bool {
	s = strings.TrimSpace(s)
	return v.decode && s != "" && (s[0] == '{' || s[0] == '[') && json.Valid([]byte(s))
}

// expand returns a value for a JSON document: the string, or the JSON in it.
func (v *meta) expand(s string) any {
	if v.isJSON(s) {
		return json.RawMessage(s)
	}
	return s
}

// text returns a value for people: escaped, or the JSON in it in lines.
func (v *meta) text(s string, ascii bool) string {
	if !v.isJSON(s) {
		return string(appendText(nil, s, ascii))
	}
	var b bytes.Buffer
	json.Indent(&b, []byte(strings.TrimSpace(s)), "", "  ") // valid, as isJSON says
	return string(escapeJSON(nil, b.Bytes(), ascii))
}
