package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"heft/tensor"
)

// sums is the verb that computes checksums of tensors, which are the same
// whatever files they are in, or compares them with those in a file.
type sums struct {
	selection
	check string
}

func (v *sums) flags(f *pflag.FlagSet) {
	f.StringVar(&v.check, "check", "", "compare with the sums in `FILE`")
	v.selection.flags(f)
}

// tensorSum is the sum of one tensor: SHA-256, in hexadecimal, of its type and
// shape, "BF16[4096,14336]\n", and its bytes.
type tensorSum struct {
	Name string `json:"name"`
	Sum  string `json:"sha256"`
}

func (v *sums) run(c *cli, args []string) error {
	var listed map[string]string
	if v.check != "" {
		var err error
		if listed, err = readSums(v.check); err != nil {
			return err
		}
	}
	l, patterns, err := open(args)
	if err != nil {
		return err
	}
	defer l.close()
	rows, err := l.pick(&v.selection, patterns)
	if err != nil {
		return err
	}
	list := make([]tensorSum, len(rows))
	err = l.each(c, "summing", rows, func(i int, t tensor.Tensor) error {
		list[i] = tensorSum{Name: t.Name(), Sum: hex.EncodeToString(sumOf(t))}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b tensorSum) int { return natural(a.Name, b.Name) })
	if v.check != "" {
		return v.compare(c, l, list, listed, patterns)
	}
	if c.json {
		return c.document(struct {
			Schema  int         `json:"schema"`
			Path    string      `json:"path"`
			Tensors []tensorSum `json:"tensors"`
		}{schema, l.name, list})
	}
	for _, s := range list {
		c.out.Write(appendSum(nil, s.Sum, s.Name))
	}
	return nil
}

// sumOf returns the checksum of a tensor: of its type, its shape and its bytes.
func sumOf(t tensor.Tensor) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%v[%s]\n", t.DType(), strings.Trim(strings.ReplaceAll(fmt.Sprint(t.Shape()), " ", ","), "[]"))
	h.Write(t.Bytes())
	return h.Sum(nil)
}

// A mismatch is a tensor whose sum is not what the file of sums says.
type mismatch struct {
	Name    string `json:"name"`
	Problem string `json:"problem"` // differs, missing (in the model), or not listed (in the file)
}

// compare says for which tensors model and file do not agree.
func (v *sums) compare(c *cli, l *listing, list []tensorSum, listed map[string]string, patterns []string) error {
	selected, err := v.compile(patterns)
	if err != nil {
		return err
	}
	bad, count := []mismatch{}, map[string]int{}
	add := func(name, problem string) {
		bad = append(bad, mismatch{name, problem})
		count[problem]++
	}
	for _, s := range list {
		switch want, ok := listed[s.Name]; {
		case !ok:
			add(s.Name, "not listed")
		case want != s.Sum:
			add(s.Name, "differs")
		}
	}
	there := make(map[string]bool, len(l.tensors))
	for name := range l.names() {
		there[name] = true
	}
	for name := range listed {
		if !there[name] && selected(name, 0, 0) { // of what type it was nobody knows
			add(name, "missing")
		}
	}
	slices.SortFunc(bad, func(a, b mismatch) int { return natural(a.Name, b.Name) })
	match := len(list) - count["differs"] - count["not listed"]
	if c.json {
		err = c.document(struct {
			Schema   int        `json:"schema"`
			Path     string     `json:"path"`
			Match    int        `json:"match"` // how many tensors do
			Problems []mismatch `json:"problems"`
		}{schema, l.name, match, bad})
	} else {
		printMismatches(c, bad, match, count)
	}
	if err == nil && len(bad) > 0 {
		return &failure{status: statusNo}
	}
	return err
}

func printMismatches(c *cli, bad []mismatch, match int, count map[string]int) {
	for _, m := range bad {
		c.out.Write(append(appendText(nil, m.Name, c.screen.ascii), ": "+m.Problem+"\n"...))
	}
	if c.quiet {
		return
	}
	matches := " match"
	if match == 1 {
		matches = " matches"
	}
	line := plural(match, "tensor") + matches
	for _, problem := range []string{"differs", "missing", "not listed"} {
		if n := count[problem]; n > 0 {
			line += fmt.Sprintf(", %d %s", n, strings.Replace(problem, "differs", "different", 1))
		}
	}
	fmt.Fprintln(c.out, line)
}

// appendSum appends a line as sha256sum(1) writes it. If the name has characters
// that would break the line, or that do something to a terminal, it begins with
// a backslash, and these are escaped.
func appendSum(dst []byte, sum, name string) []byte {
	var escaped []byte
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		switch {
		case r == '\\':
			escaped = append(escaped, `\\`...)
		case r == '\n':
			escaped = append(escaped, `\n`...)
		case r == '\r':
			escaped = append(escaped, `\r`...)
		case isPrint(r, n, false):
			escaped = append(escaped, name[i:i+n]...)
		default:
			for _, b := range []byte(name[i : i+n]) {
				escaped = fmt.Appendf(escaped, `\x%02x`, b)
			}
		}
		i += n
	}
	if string(escaped) != name {
		dst = append(dst, '\\')
	}
	dst = append(append(dst, sum...), "  "...)
	return append(append(dst, escaped...), '\n')
}

// parseSum reads such a line, without its end.
func parseSum(line string) (sum, name string, ok bool) {
	line, isEscaped := strings.CutPrefix(line, `\`)
	sum, name, ok = strings.Cut(line, "  ")
	if b, err := hex.DecodeString(sum); !ok || err != nil || len(b) != sha256.Size {
		return "", "", false
	}
	if isEscaped {
		name, ok = unescapeSum(name)
	}
	return strings.ToLower(sum), name, ok
}

// unescapeSum undoes the escaping of a name.
func unescapeSum(s string) (name string, ok bool) {
	var b []byte
	for s != "" {
		i := strings.IndexByte(s, '\\')
		if i < 0 {
			return string(append(b, s...)), true
		}
		b, s = append(b, s[:i]...), s[i+1:]
		if s == "" {
			return "", false
		}
		n := 1
		switch s[0] {
		case '\\':
			b = append(b, '\\')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 'x':
			if n = 3; len(s) < n {
				return "", false
			}
			v, err := hex.DecodeString(s[1:n])
			if err != nil {
				return "", false
			}
			b = append(b, v...)
		default:
			return "", false
		}
		s = s[n:]
	}
	return string(b), true
}

// readSums reads a file of sums, by name.
func readSums(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	listed, number := make(map[string]string), 0
	for line := range bytes.Lines(text) {
		number++
		sum, name, ok := parseSum(strings.TrimSuffix(string(line), "\n"))
		if !ok {
			err = fmt.Errorf("line %d is not a sum and a name", number)
		} else if old, twice := listed[name]; twice && old != sum {
			err = fmt.Errorf("line %d: another sum of %q", number, name)
		}
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		listed[name] = sum
	}
	return listed, nil
}
