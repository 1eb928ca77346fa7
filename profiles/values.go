package profiles

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Size is a number of bytes.
type Size int64

// ParseSize reads a whole number of bytes, or a number with one of the binary
// units K, M, G and T; "KiB" and "KB" are read like "K". "1.5G" is fine as long
// as the result is whole.
func ParseSize(s string) (Size, error) {
	digits := strings.TrimRight(s, "KMGTkmgtiBb")
	unit, ok := sizeUnit(s[len(digits):])
	n, err := strconv.ParseFloat(digits, 64)
	bytes := n * float64(unit)
	switch {
	case !ok || err != nil || !plainNumber(digits):
		return 0, fmt.Errorf("size %q: expected bytes or a number with K, M, G or T, such as \"512M\"", s)
	case bytes != math.Trunc(bytes):
		return 0, fmt.Errorf("size %q: is not a whole number of bytes", s)
	case bytes >= math.MaxInt64:
		return 0, fmt.Errorf("size %q: is more than 8 EiB", s)
	}
	if whole, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return Size(whole * unit), nil // exact, where a float has 53 bits
	}
	return Size(bytes), nil
}

// sizeUnit returns what a unit multiplies by.
func sizeUnit(unit string) (int64, bool) {
	switch strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(unit), "B"), "I") {
	case "":
		return 1, unit == "" || unit == "B"
	case "K":
		return 1 << 10, true
	case "M":
		return 1 << 20, true
	case "G":
		return 1 << 30, true
	case "T":
		return 1 << 40, true
	}
	return 0, false
}

// plainNumber forbids what ParseFloat takes beyond digits and one point: signs,
// exponents, underscores, "Inf".
func plainNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789.") == "" && strings.Count(s, ".") <= 1
}

// UnmarshalText makes a Size of a TOML string.
func (s *Size) UnmarshalText(text []byte) error {
	n, err := ParseSize(string(text))
	if err == nil {
		*s = n
	}
	return err
}

// String writes the size with the largest unit that keeps it whole.
func (s Size) String() string {
	const units = "KMGT"
	n, unit := int64(s), ""
	for i := 0; i < len(units) && n != 0 && n%1024 == 0; i++ {
		n, unit = n/1024, units[i:i+1]
	}
	return strconv.FormatInt(n, 10) + unit
}

// A Duration is a length of time.
type Duration time.Duration

// ParseDuration reads what time.ParseDuration does ("1.5s", "2m", "1h30m"), and
// a bare number as seconds. It is never negative.
func ParseDuration(s string) (Duration, error) {
	text := s
	if plainNumber(s) {
		text += "s"
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("duration %q: expected a number with ms, s, m or h, such as \"1.5s\" or \"2m\"", s)
	}
	if d < 0 {
		return 0, fmt.Errorf("duration %q: is negative", s)
	}
	return Duration(d), nil
}

// UnmarshalText makes a Duration of a TOML string.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err == nil {
		*d = v
	}
	return err
}

// Std returns the duration as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String writes the duration as ParseDuration reads it.
func (d Duration) String() string { return time.Duration(d).String() }
