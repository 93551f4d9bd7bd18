package main

import (
	"bytes"
	"os"
	"testing"
	"time"
)

func TestProgressLine(t *testing.T) {
	const gib = 1 << 30
	start := time.Unix(1000, 0)
	p := &progress{what: "warming", total: 4 * gib, since: start}
	for _, step := range []struct {
		seconds float64
		done    int64
		want    string
	}{
		{1, 1 * gib, "warming ████············ 25%  1.00 GiB of 4.00 GiB  1.00 GiB/s  3s left"},
		{2, 1 * gib, "warming ████············ 25%  1.00 GiB of 4.00 GiB  717 MiB/s  4s left"},  // 0.7 of what it was
		{3, 3 * gib, "warming ████████████···· 75%  3.00 GiB of 4.00 GiB  1.09 GiB/s  1s left"}, // 0.49 + 0.6
		{4, 2 * gib, "warming ████████████···· 75%  3.00 GiB of 4.00 GiB  781 MiB/s  1s left"},  // never back
		{5, 5 * gib, "warming ████████████████ 100%  4.00 GiB of 4.00 GiB  854 MiB/s  0s left"}, // never beyond
	} {
		now := start.Add(time.Duration(step.seconds * float64(time.Second)))
		if got := string(p.line(step.done, now)); got != "\r"+step.want+"\x1b[K" {
			t.Errorf("after %v s: %q, want %q", step.seconds, got, step.want)
		}
	}

	p = &progress{what: "warming", total: 4 * gib, since: start, ascii: true, width: 30}
	got := string(p.line(0, start.Add(time.Second)))
	if want := "\rwarming ................ 0%  \x1b[K"; got != want {
		t.Errorf("nothing in 30 columns: %q, want %q", got, want)
	}
	var b bytes.Buffer
	p.erase(&b)
	if b.String() != "\r\x1b[K" {
		t.Errorf("erased by %q", b.String())
	}
	b.Reset()
	(&progress{}).erase(&b)
	if b.Len() != 0 {
		t.Errorf("erased by %q what was never shown", b.String())
	}
}

// Only a terminal sees progress.
func TestProgressElsewhere(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	asked := false
	end := newCLI(f, f).progress("warming", 1, func() int64 { asked = true; return 0 })
	end()
	if fi, err := f.Stat(); err != nil || fi.Size() != 0 || asked {
		t.Errorf("wrote %d bytes, asked %v: %v", fi.Size(), asked, err)
	}
}
