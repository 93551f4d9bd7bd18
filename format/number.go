package format

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strconv"
)

// uint reads an integer in [0, 2^64), behind white space. What follows it is the caller's to look at.
func (s *scanner) uint() (uint64, bool) {
	s.next()
	if n, end := uintAt(s.b, s.i); end > 0 {
		s.i = end
		return n, true
	}
	start := s.i
	n, dropped := s.digits(0)
	switch {
	case s.i == start:
		return 0, s.expected("an unsigned integer")
	case s.b[start] == '0' && s.i-start > 1:
		return 0, s.fail(start, "integer with a leading zero")
	case dropped > 0:
		return 0, s.fail(start, "integer of 2^64 or more")
	}
	return n, true
}

// spelledUint is a number, and where in a text its digits are.
type spelledUint struct {
	at, digits int
	value      uint64
}

// uintAt returns the number whose decimal digits stand at i, and the position
// behind them, at which b does not end yet. It leaves to others, and returns -1
// for, what has leading zeros or more than 15 digits, or stands in the last 16 bytes.
func uintAt(b []byte, i int) (n uint64, end int) {
	if i > len(b)-16 {
		return 0, -1
	}
	n, digits := eightDigits(binary.LittleEndian.Uint64(b[i:]))
	if digits == 8 {
		v, more := eightDigits(binary.LittleEndian.Uint64(b[i+8:]))
		n, digits = n*powers[more]+v, 8+more
	}
	if digits == 0 || digits == 16 || digits > 1 && b[i] == '0' {
		return 0, -1
	}
	return n, i + digits
}

var powers = [...]uint64{1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}

// eightDigits returns the number that the first k bytes of w are the decimal
// digits of, for the largest such k. All bytes are looked at together: offsets
// are long numbers.
func eightDigits(w uint64) (n uint64, k int) {
	const ones = 0x0101010101010101
	w ^= ones * '0' // digits become their values
	k = bits.TrailingZeros64((w+ones*(0x80-10)|w)&(ones*0x80)) / 8
	w <<= 64 - 8*uint(k) // zeros before the digits; all zeros for k = 0, too
	w = (w*10 + w>>8) & 0x00ff00ff00ff00ff
	w = (w*100 + w>>16) & 0x0000ffff0000ffff
	return (w*10000 + w>>32) & 0xffffffff, k
}

// number reads a number of any kind. One too large for a float64 is refused
// exactly where the reference's parser refuses it: that parser keeps a
// significand of 64 bits, drops the digits that do not fit, and multiplies once
// by a power of ten.
func (s *scanner) number() bool {
	start := s.i
	if s.i < len(s.b) && s.b[s.i] == '-' {
		s.i++
	}
	if s.i >= len(s.b) || s.b[s.i] < '0' || '9' < s.b[s.i] {
		s.i = start
		return s.expected("a value")
	}
	first := s.i
	n, dropped := s.digits(0)
	if s.b[first] == '0' && s.i-first > 1 {
		return s.fail(start, "number with a leading zero")
	}
	exp := dropped
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		point := s.i
		n, dropped = s.digits(n)
		if s.i == point {
			return s.expected("a digit")
		}
		exp -= s.i - point - dropped
	}
	if s.i < len(s.b) && s.b[s.i]|0x20 == 'e' {
		e, ok := s.exponent()
		if !ok {
			return false
		}
		exp += e
	}
	if n != 0 && exp > 308 || exp > 0 && exp <= 308 && math.IsInf(float64(n)*pow10(exp), 0) {
		return s.fail(start, "number too large for a float64")
	}
	return true
}

// digits reads decimal digits behind those of n. Once n would overflow, digits are dropped; it counts these.
func (s *scanner) digits(n uint64) (_ uint64, dropped int) {
	for ; s.i < len(s.b); s.i++ {
		d := uint64(s.b[s.i] - '0')
		if d > 9 {
			break
		}
		if dropped > 0 || n > math.MaxUint64/10 || n*10 > math.MaxUint64-d {
			dropped++
		} else {
			n = n*10 + d
		}
	}
	return n, dropped
}

// exponent reads the exponent of a number. Its size stops growing well beyond what matters.
func (s *scanner) exponent() (int, bool) {
	s.i++
	negative := false
	if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
		negative = s.b[s.i] == '-'
		s.i++
	}
	first := s.i
	e := 0
	for ; s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9'; s.i++ {
		if e < 1e8 { // beyond what any number of digits before it makes up for
			e = e*10 + int(s.b[s.i]-'0')
		}
	}
	if s.i == first {
		return 0, s.expected("a digit")
	}
	if negative {
		e = -e
	}
	return e, true
}

// pow10 returns the float64 nearest to 10^n, for n from 0 to 308. (math.Pow10 multiplies two of them.)
func pow10(n int) float64 {
	f, err := strconv.ParseFloat(fmt.Sprintf("1e%d", n), 64)
	if err != nil {
		panic(err)
	}
	return f
}
