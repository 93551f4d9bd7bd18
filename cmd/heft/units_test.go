package main

import (
	"math"
	"testing"
	"time"
)

func TestAppendSize(t *testing.T) {
	for _, test := range []struct {
		n    int64
		want string
	}{
		{0, "0 B"}, {1, "1 B"}, {1023, "1023 B"},
		{1 << 10, "1 KiB"}, {1536, "1.50 KiB"}, {1 << 13, "8 KiB"}, {10234, "9.99 KiB"},
		{100 << 10, "100 KiB"}, {1<<20 - 1, "1.00 MiB"}, {1<<20 - 512, "1.00 MiB"}, {1<<20 - 513, "1023 KiB"},
		{112 << 20, "112 MiB"}, {1002 << 20, "1002 MiB"}, {99<<20 + 1<<19, "99.50 MiB"},
		{13 << 30, "13.00 GiB"}, {16060522496, "14.96 GiB"}, {641 << 30, "641 GiB"},
		{1 << 40, "1.00 TiB"}, {math.MaxInt64, "8.00 EiB"},
	} {
		if got := string(appendSize(nil, test.n)); got != test.want {
			t.Errorf("appendSize(%d) = %s, want %s", test.n, got, test.want)
		}
	}
}

func TestAppendCount(t *testing.T) {
	for _, test := range []struct {
		n    int64
		want string
	}{
		{0, "0"}, {999, "999"}, {1000, "1.00K"}, {1234, "1.23K"}, {9994, "9.99K"}, {9995, "10.0K"}, {9996, "10.0K"},
		{99949, "99.9K"}, {99951, "100K"}, {999499, "999K"}, {999500, "1.00M"},
		{22713216, "22.7M"}, {8030261248, "8.03B"}, {671026419200, "671B"}, {1e12, "1.00T"}, {math.MaxInt64, "9223372T"},
	} {
		if got := string(appendCount(nil, test.n)); got != test.want {
			t.Errorf("appendCount(%d) = %s, want %s", test.n, got, test.want)
		}
	}
}

func TestAppendPercent(t *testing.T) {
	for _, test := range []struct {
		part, whole int64
		decimals    int
		want        string
	}{
		{0, 100, 1, "0.0%"}, {1, 3, 1, "33.3%"}, {3, 3, 1, "100.0%"}, {9999999, 10000000, 1, "99.9%"},
		{9999999, 10000000, 0, "99%"}, {0, 0, 1, "100.0%"}, {37, 100, 0, "37%"},
	} {
		if got := string(appendPercent(nil, test.part, test.whole, test.decimals)); got != test.want {
			t.Errorf("appendPercent(%d, %d) = %s, want %s", test.part, test.whole, got, test.want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "4096": 4096, "64M": 64 << 20, "1.5G": 3 << 29, "2k": 2 << 10, "2KiB": 2 << 10, "2 MB": 2 << 20, "7B": 7, "1T": 1 << 40, ".5K": 512,
	} {
		if got, err := parseSize(s); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "M", "-1", "+1", "1X", "1MM", "0x10", "1e3", "NaN", "inf", "1..5", "9E", "1i", "99999999999999999999"} {
		if got, err := parseSize(s); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", s, got)
		}
	}
}

func TestAppendDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.00 µs", 1234 * time.Nanosecond: "1.23 µs", 12345 * time.Microsecond: "12.3 ms", 123456 * time.Microsecond: "123 ms",
		999999 * time.Microsecond: "1000 ms", time.Second: "1.00 s", 1234 * time.Second: "1234 s",
	} {
		if got := string(appendDuration(nil, d)); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestAppendBar(t *testing.T) {
	for _, test := range []struct {
		part, whole int64
		ascii       bool
		want        string
	}{
		{229, 1000, false, "███▌············"},
		{188, 1000, false, "███·············"},
		{0, 1000, false, "················"},
		{999, 1000, false, "███████████████▌"},
		{1000, 1000, false, "████████████████"},
		{0, 0, false, "████████████████"},
		{-1, 10, true, "................"},
		{229, 1000, true, "###-............"},
	} {
		if got := string(appendBar(nil, test.part, test.whole, 16, test.ascii)); got != test.want {
			t.Errorf("%d of %d: %s, want %s", test.part, test.whole, got, test.want)
		}
	}
}
