package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// appendSize appends a number of bytes in a binary unit, to three or four
// digits: "112 MiB", "14.96 GiB". Up to MiB, whole numbers stay whole.
func appendSize(dst []byte, n int64) []byte {
	if n < 1<<10 {
		return append(strconv.AppendInt(dst, n, 10), " B"...)
	}
	const units = "BKMGTPE"
	v, unit := float64(n), 0
	for v >= 1023.5 { // it would be rounded to 1024
		v /= 1 << 10
		unit++
	}
	decimals := 2
	if v >= 99.995 || units[unit] != 'G' && unit < 3 && v == math.Trunc(v) {
		decimals = 0
	}
	dst = strconv.AppendFloat(dst, v, 'f', decimals, 64)
	return append(dst, ' ', units[unit], 'i', 'B')
}

// appendCount appends a number of parameters in a decimal unit, to three
// digits: "8.03B". Below a thousand it is exact.
func appendCount(dst []byte, n int64) []byte {
	if n < 1000 {
		return strconv.AppendInt(dst, n, 10)
	}
	const units = " KMBT"
	v, unit := float64(n), 0
	for v >= 999.5 && unit < len(units)-1 {
		v /= 1000
		unit++
	}
	decimals := 2
	switch {
	case v >= 99.95:
		decimals = 0
	case v >= 9.995:
		decimals = 1
	}
	return append(strconv.AppendFloat(dst, v, 'f', decimals, 64), units[unit])
}

// appendPercent appends part as a percentage of whole. Only the whole is 100%;
// of nothing, any part is.
func appendPercent(dst []byte, part, whole int64, decimals int) []byte {
	p := 100.0
	if part < whole {
		p = float64(part) / float64(whole) * 100
		step := math.Pow10(-decimals)
		p = min(p, 100-step)
	}
	return append(strconv.AppendFloat(dst, p, 'f', decimals, 64), '%')
}

// appendDuration appends a time to three digits: "12.3 ms", "4.56 s".
func appendDuration(dst []byte, d time.Duration) []byte {
	v, unit := d.Seconds(), " s"
	switch {
	case d < time.Millisecond:
		v, unit = v*1e6, " µs"
	case d < time.Second:
		v, unit = v*1e3, " ms"
	}
	decimals := 0
	for limit := 99.95; decimals < 2 && v < limit; limit /= 10 {
		decimals++
	}
	return append(strconv.AppendFloat(dst, v, 'f', decimals, 64), unit...)
}

// appendBar appends a bar that is filled as far as part is of whole, in steps
// of half a column. It is full only if all is there; of nothing, it is.
func appendBar(dst []byte, part, whole int64, columns int, ascii bool) []byte {
	full, half, none := "█", "▌", "·"
	if ascii {
		full, half, none = "#", "-", "."
	}
	halves := 2 * columns
	if part < whole {
		halves = int(float64(part) / float64(whole) * float64(halves))
		halves = min(max(halves, 0), 2*columns-1)
	}
	for i := 0; i < 2*columns; i += 2 {
		switch {
		case i+2 <= halves:
			dst = append(dst, full...)
		case i < halves:
			dst = append(dst, half...)
		default:
			dst = append(dst, none...)
		}
	}
	return dst
}

// parseSize reads a number of bytes as flags take it: 4096, 64M, 1.5G, 2KiB.
// Units are powers of two.
func parseSize(s string) (int64, error) {
	number := strings.TrimRight(s, "BKMGTPEIbkmgtpei")
	unit := strings.ToUpper(s[len(number):])
	if unit != "B" {
		unit = strings.TrimSuffix(strings.TrimSuffix(unit, "B"), "I")
	}
	shift := 10 * strings.Index("BKMGTPE", unit) // "" is found at B
	if unit == "" && len(number) < len(s) {
		shift = -1
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || len(unit) > 1 || shift < 0 || strings.Trim(number, "0123456789. ") != "" {
		return 0, fmt.Errorf("%q is not a size such as 4096, 64M or 1.5G", s)
	}
	if v = math.Ldexp(v, shift); v >= 1<<63 {
		return 0, fmt.Errorf("%q is more than a file can hold", s)
	}
	return int64(v), nil
}

// A sizeFlag is a flag that takes a number of bytes.
type sizeFlag int64

func (f *sizeFlag) Set(s string) error {
	n, err := parseSize(s)
	*f = sizeFlag(n)
	return err
}

func (f *sizeFlag) String() string { return string(appendSize(nil, int64(*f))) }
func (f *sizeFlag) Type() string   { return "size" }
