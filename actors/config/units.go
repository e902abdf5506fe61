package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// units of sizes, largest first. Only powers of two: what is bounded is memory.
var units = []struct {
	name  string
	bytes int
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// parseSize reads "16MiB", "512KiB", "4096B". A number without unit is refused:
// nobody can tell what was meant.
func parseSize(s string) (int, string) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(digits))
		switch {
		case err != nil:
			return 0, strconv.Quote(s) + " is no size; write a whole number and B, KiB, MiB or GiB, as in 16MiB"
		case n <= 0 || n > math.MaxInt/u.bytes:
			return 0, strconv.Quote(s) + " is out of range"
		}
		return n * u.bytes, ""
	}
	if _, err := strconv.Atoi(s); err == nil {
		return 0, "the unit of " + strconv.Quote(s) + " is missing; write B, KiB, MiB or GiB behind it, as in 16MiB"
	}
	return 0, strconv.Quote(s) + " is no size; write a whole number and B, KiB, MiB or GiB, as in 16MiB"
}

func formatSize(n int) string {
	for _, u := range units {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.Itoa(n/u.bytes) + u.name
		}
	}
	return "0B"
}

// parseSpan reads "5s", "1m30s", "250ms".
func parseSpan(s string) (time.Duration, string) {
	t, err := time.ParseDuration(s)
	switch {
	case err == nil && t > 0:
		return t, ""
	case err == nil:
		return 0, strconv.Quote(s) + " is out of range; use a duration above zero, as in 5s"
	}
	if _, nerr := strconv.ParseFloat(s, 64); nerr == nil {
		return 0, "the unit of " + strconv.Quote(s) + " is missing; write ms, s, m or h behind it, as in 5s"
	}
	return 0, strconv.Quote(s) + " is no duration; write numbers with ms, s, m or h, as in 5s or 1m30s"
}

// formatSpan writes a duration without the zero units of time.Duration.
func formatSpan(t time.Duration) string {
	s := t.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
