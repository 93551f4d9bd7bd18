package format_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"heft/format"
)

// TestNumbers holds numbers that nobody reads to what the reference's parser accepts: what fits a float64, by its own arithmetic.
func TestNumbers(t *testing.T) {
	for number, accepted := range map[string]bool{
		"0": true, "-0": true, "1.5": true, "-1.5E+3": true, "1e308": true, "1e-999": true,
		"0e999": true, "0.0e99999999999": true, "1e-2147483650": true, "1e-99999999999999999999": true,
		"1e309": false, "1e999": false, "1e2147483650": false, "1e3000000000": false, "1e4294967297": false, "-1e99999999999999999999": false,
		"17976931348623157e292": true, "1.7976931348623159e308": false, "179769313486231580000e289": false,
		"0." + strings.Repeat("0", 400) + "1e405":                            true,
		strings.Repeat("9", 309):                                             false,
		strings.Repeat("9", 400) + "e-200":                                   true,
		"123456789012345678901234567890." + strings.Repeat("9", 50) + "e-10": true,
		"01": false, "1.": false, ".5": false, "1e": false, "1e+": false, "+1": false, "-": false, "1.e5": false, "NaN": false, "Infinity": false, "0x1": false,
	} {
		_, err := read(file(fmt.Sprintf(`{"a":{"x":%s,"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, number), 0))
		if accepted && err != nil || !accepted && !errors.Is(err, format.ErrHeaderJSON) {
			t.Errorf("%.40s: %v, want accepted: %v", number, err, accepted)
		}
	}
}

func TestErrorsClipNames(t *testing.T) {
	_, err := read(file(`{"`+strings.Repeat("x", 1<<20)+`":{"dtype":"U8","shape":[1],"data_offsets":[0,0]}}`, 0))
	var e *format.Error
	if !errors.As(err, &e) || len(e.Tensor) != 1<<20 || len(err.Error()) > 400 {
		t.Errorf("%d bytes of message for a name of %d", len(err.Error()), len(e.Tensor))
	}
}
