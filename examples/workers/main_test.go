package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"testing"

	"heft/loader"
)

func TestMain(m *testing.M) {
	if os.Getenv(socket) != "" { // the test runs this program again as its workers
		main()
		return
	}
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out, 3, "../../testdata/digits"); err != nil {
		t.Fatal(err)
	}
	const line = `worker \d: answer ([0-9a-f]{8}), PSS \d+\.\d MiB, private \d+\.\d MiB\n`
	want := regexp.MustCompile(`^` + line + line + line +
		`all 3: \d+\.\d MiB; the weights are 0\.0 MiB, 3 copies of them 0\.1 MiB\n` +
		`worker 0 was killed and is back after \d+\.\d ms, answer ([0-9a-f]{8})\n$`)
	answers := want.FindStringSubmatch(out.String())
	if answers == nil {
		t.Fatalf("got\n%s", &out)
	}
	for _, a := range answers[2:] {
		if a != answers[1] {
			t.Errorf("one model, several answers:\n%s", &out)
		}
	}
}

func TestRunErrors(t *testing.T) {
	if err := run(new(bytes.Buffer), 0, "no such"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such model: %v", err)
	}
	var fault *loader.FaultError
	if err := serve("no such", "../../testdata/digits"); err == nil || errors.As(err, &fault) {
		t.Errorf("no such socket: %v", err)
	}
}
