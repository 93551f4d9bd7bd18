package main

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"heft/tensor"
)

var update = flag.Bool("update", false, "write what the command writes into the scripts, where they compare")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"heft": main})
}

// TestScripts runs the specification of the command: each verb and topic has a
// script in testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:             "testdata/script",
		UpdateScripts:   *update,
		ContinueOnError: true,
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"LC_ALL", "LC_CTYPE", "NO_COLOR", "COLUMNS"} {
				e.Setenv(name, "")
			}
			e.Setenv("LANG", "C.UTF-8")
			e.Setenv("TERM", "xterm")
			e.Setenv("GORACE", "atexit_sleep_ms=0") // a race detector that wants to see more would wait a second
			e.Setenv("ESC", "\x1b")
			e.Setenv("BELL", "\a")
			specs, err := filepath.Abs("testdata/spec")
			e.Setenv("SPEC", specs)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"mkmodel": mkmodel,
			"status":  exits,
			"like":    like,

			"interrupt": interrupt,
			"until":     until,
		},
		Condition: func(name string) (bool, error) {
			if name != "emulated" {
				return false, fmt.Errorf("no condition %q", name)
			}
			return emulated(), nil
		},
	})
}

// emulated reports whether qemu-user runs this program. It rewrites
// /proc/self/exe, but not /proc/thread-self/exe, and does not tell the truth
// about madvise, cachestat and what processes map.
func emulated() bool {
	if runtime.GOOS != "linux" {
		return false
	}
	told, err1 := os.Readlink("/proc/self/exe")
	real, err2 := os.Readlink("/proc/thread-self/exe")
	return err1 == nil && err2 == nil && told != real
}

// interrupt STREAM COMMAND ARG... starts a command, interrupts it when it has
// written to the stream (stdout or stderr), from which no more is read before
// it ends, and checks that it ends as it should.
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	cmd := exec.Command(path, args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	pipe := cmd.StdoutPipe
	if args[0] == "stderr" {
		pipe = cmd.StderrPipe
	}
	r, err := pipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	deadline := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer deadline.Stop()
	_, err = r.Read(make([]byte, 1))
	ts.Check(err)
	ts.Check(cmd.Process.Signal(os.Interrupt))
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); (got == statusInterrupted) == neg {
		ts.Fatalf("exit status %d, want %d", got, statusInterrupted)
	}
}

// until PATTERN COMMAND ARG... runs a command, again and again for a minute at
// most, until its standard output matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	for start := time.Now(); time.Since(start) < time.Minute; time.Sleep(10 * time.Millisecond) {
		if ts.Check(ts.Exec(args[1], args[2:]...)); want.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("stdout never matches %s:\n%s", args[0], ts.ReadFile("stdout"))
}

// exits runs a command and checks its exit status: status N COMMAND ARG...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want := args[0]
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if (got == want) == neg {
		ts.Fatalf("exit status %s, want %s", got, want)
	}
}

// like FILE compares what the last command wrote to standard output with a file,
// in which a line that ends in ... stands for all lines that begin so.
func like(ts *testscript.TestScript, neg bool, args []string) {
	got := strings.SplitAfter(ts.ReadFile("stdout"), "\n")
	want := strings.SplitAfter(ts.ReadFile(args[0]), "\n")
	same := len(got) == len(want)
	for i := 0; same && i < len(got); i++ {
		begin, ok := strings.CutSuffix(want[i], "...\n")
		same = got[i] == want[i] || ok && strings.HasPrefix(got[i], begin)
	}
	if same == neg {
		ts.Fatalf("stdout is not like %s:\n%s", args[0], strings.Join(got, ""))
	}
}

// mkmodel SPEC DST makes a model. DST is a file, or a directory where the
// specification names shards; data is zero, and takes no room, where nothing else
// is said. A line of a specification is one of
//
//	name dtype shape [begin end] [= HEX]   a tensor: shape as 4x8, or - for a scalar; its bytes
//	@key value                             metadata
//	== shard.safetensors                   what follows is in this shard
//	!header TEXT                           the header as it is, in place of what the other lines say
//	!length N                              what the file says that the length of the header is
//	!grow N                                N bytes more (or, if negative, fewer) than the tensors take
//
// Names, keys and values may be quoted as in Go.
func mkmodel(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mkmodel SPEC DST")
	}
	dst := ts.MkAbs(args[1])
	path := dst
	index := map[string]string{}
	m := &spec{}
	finish := func() { ts.Check(m.write(path, index)) }
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "== "); ok {
			if path != dst {
				finish()
			}
			ts.Check(os.MkdirAll(dst, 0o777))
			path = filepath.Join(dst, name)
			m = &spec{}
			continue
		}
		ts.Check(m.line(line))
	}
	finish()
	if path != dst {
		b, err := json.Marshal(map[string]any{"metadata": map[string]any{}, "weight_map": index})
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(dst, "model.safetensors.index.json"), b, 0o666))
	}
}

// spec is what a specification says of one file.
type spec struct {
	metadata, tensors []string // in JSON
	names             []string
	end, grow         int64
	length            uint64
	raw               string
	data              []datum
}

// datum is data that is not zero, at an offset.
type datum struct {
	begin int64
	bytes []byte
}

func (m *spec) line(line string) error {
	switch rest, word := line, ""; {
	case line == "" || line[0] == '#':
	case strings.HasPrefix(line, "!header "):
		m.raw = line[len("!header "):]
	case strings.HasPrefix(line, "!length "):
		_, err := fmt.Sscanf(line, "!length %d", &m.length)
		return err
	case strings.HasPrefix(line, "!grow "):
		_, err := fmt.Sscanf(line, "!grow %d", &m.grow)
		return err
	case line[0] == '@':
		word, rest = field(line[1:])
		if value, tail := field(rest); tail == "" {
			rest = value
		}
		m.metadata = append(m.metadata, quoteJSON(word)+":"+quoteJSON(rest))
	default:
		word, rest = field(line)
		return m.tensor(word, strings.Fields(rest))
	}
	return nil
}

func (m *spec) tensor(name string, fields []string) error {
	d, err := tensor.ParseDType(fields[0])
	if err != nil {
		return err
	}
	size, shape := int64(d.Bits()), ""
	if fields[1] != "-" {
		shape = strings.ReplaceAll(fields[1], "x", ",")
		for dim := range strings.SplitSeq(shape, ",") {
			n, err := strconv.ParseInt(dim, 10, 64)
			if err != nil {
				return err
			}
			size *= n
		}
	}
	begin, end := m.end, m.end+size/8
	if n := len(fields); fields[n-2] == "=" {
		b, err := hex.DecodeString(fields[n-1])
		if err != nil {
			return err
		}
		m.data = append(m.data, datum{begin, b})
		fields = fields[:n-2]
	}
	if len(fields) == 4 {
		begin, _ = strconv.ParseInt(fields[2], 10, 64)
		end, _ = strconv.ParseInt(fields[3], 10, 64)
	}
	m.end = max(m.end, end)
	m.names = append(m.names, name)
	m.tensors = append(m.tensors, fmt.Sprintf(`%s:{"dtype":"%v","shape":[%s],"data_offsets":[%d,%d]}`, quoteJSON(name), d, shape, begin, end))
	return nil
}

func (m *spec) write(path string, index map[string]string) error {
	var parts []string
	if m.metadata != nil {
		parts = append(parts, `"__metadata__":{`+strings.Join(m.metadata, ",")+"}")
	}
	header := "{" + strings.Join(append(parts, m.tensors...), ",") + "}"
	if m.raw != "" {
		header = m.raw
	}
	header += strings.Repeat(" ", -len(header)&7)
	length := uint64(len(header))
	if m.length != 0 {
		length = m.length
	}
	b := append(binary.LittleEndian.AppendUint64(nil, length), header...)
	if err := os.WriteFile(path, b, 0o666); err != nil {
		return err
	}
	for _, name := range m.names {
		index[name] = filepath.Base(path)
	}
	if err := os.Truncate(path, int64(len(b))+m.end+m.grow); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, d := range m.data {
		if _, err := f.WriteAt(d.bytes, int64(len(b))+d.begin); err != nil {
			return err
		}
	}
	return f.Close()
}

// field splits the first word off a line; it may be quoted.
func field(line string) (word, rest string) {
	line = strings.TrimSpace(line)
	if q, err := strconv.QuotedPrefix(line); err == nil {
		word, _ = strconv.Unquote(q)
		return word, strings.TrimSpace(line[len(q):])
	}
	word, rest, _ = strings.Cut(line, " ")
	return word, strings.TrimSpace(rest)
}

func quoteJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}
