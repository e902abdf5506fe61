package sim

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Model is what links are like. The zero Model is a link without delay.
type Model struct {
	// Latency is the least time from one end to the other.
	Latency time.Duration
	// Jitter is added evenly at random, up to this. Messages keep their order.
	Jitter time.Duration
	// Sigma multiplies Latency by a log-normal factor of median 1; 0: none.
	Sigma float64
	// Regions, if there are any, replaces Latency: node i is in region
	// i mod len(Regions), and Regions[a][b] is the time from a to b.
	Regions [][]time.Duration
	// Loss is the part of messages that vanish on links that stay up.
	Loss float64
	// Rate in bytes per second and Window in bytes bound what a link carries:
	// the lesser of Rate and Window per round trip, as TCP does. 0: no bound.
	Rate, Window int64
}

// Validate reports everything that is wrong.
func (m Model) Validate() error {
	var errs []error
	if m.Latency < 0 || m.Jitter < 0 || m.Sigma < 0 {
		errs = append(errs, fmt.Errorf("sim: latency %v, jitter %v and sigma %v must not be negative", m.Latency, m.Jitter, m.Sigma))
	}
	if m.Loss < 0 || m.Loss > 1 {
		errs = append(errs, fmt.Errorf("sim: a loss of %v is no part of 1; use 0 to 1", m.Loss))
	}
	if m.Rate < 0 || m.Window < 0 {
		errs = append(errs, fmt.Errorf("sim: rate %d and window %d must not be negative; 0 is no bound", m.Rate, m.Window))
	}
	for i, row := range m.Regions {
		if len(row) != len(m.Regions) {
			errs = append(errs, fmt.Errorf("sim: row %d of the regions has %d columns for %d regions", i, len(row), len(m.Regions)))
		}
	}
	return errors.Join(errs...)
}

// base is the time from one host to another without chance.
func (m *Model) base(from, to int32) time.Duration {
	if n := int32(len(m.Regions)); n > 0 {
		return m.Regions[from%n][to%n]
	}
	return m.Latency
}

// delay draws the time of one message.
func (m *Model) delay(rng *rand.Rand, from, to int32) time.Duration {
	d := m.base(from, to)
	if m.Sigma > 0 {
		d = time.Duration(float64(d) * math.Exp(m.Sigma*rng.NormFloat64()))
	}
	if m.Jitter > 0 {
		d += time.Duration(rng.Int64N(int64(m.Jitter)))
	}
	return d
}

// bounded reports whether messages take time by their size.
func (m *Model) bounded() bool { return m.Rate > 0 || m.Window > 0 }

// transfer is how long a link is busy with so many bytes.
func (m *Model) transfer(from, to int32, bytes int) time.Duration {
	rate := math.Inf(1)
	if m.Rate > 0 {
		rate = float64(m.Rate)
	}
	if trip := m.base(from, to) + m.base(to, from); m.Window > 0 && trip > 0 {
		rate = min(rate, float64(m.Window)/trip.Seconds())
	}
	return time.Duration(float64(bytes) / rate * float64(time.Second))
}
