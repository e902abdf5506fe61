//go:build linux

package main

import "math"

// Fit is a straight line through the samples of one figure of one process.
type Fit struct {
	Process, What string
	Samples       int
	Values        []float64 // to which the line is fitted
	Mean          float64
	Per10Min      float64 // the slope
	Error         float64 // its standard error
	Grows         bool
	TooShort      bool // to say
}

// tolerated is the growth in ten minutes that counts as none, as a part of the
// mean.
const tolerated = 0.01

// perBlock is the time over which samples are averaged, in seconds: faults last
// up to a minute, so that samples within it are not independent.
const perBlock = 60

// blocks makes one of the samples of each perBlock: their mean, or the least. The
// heap is judged by both: what waits for a peer that is cut off comes and goes with
// the faults, and hides a leak from the mean, but not from the least; what grows in
// such times only is seen by the mean.
func blocks(t, v []float64, least bool) (bt, bv []float64) {
	for i := 0; i < len(t); {
		end, n, st, sv, low := t[i]+perBlock, 0.0, 0.0, 0.0, v[i]
		for ; i < len(t) && t[i] < end; i++ {
			n, st, sv, low = n+1, st+t[i], sv+v[i], min(low, v[i])
		}
		if sv /= n; least {
			sv = low
		}
		bt, bv = append(bt, st/n), append(bv, sv)
	}
	return bt, bv
}

// fit fits a line to values at times in seconds. The figure grows if its slope
// is more than is tolerated even when its error, twice, is taken off, and if
// that makes more than floor over the whole time. Fewer than eight values say
// nothing.
func fit(process, what string, t, v []float64, floor float64) Fit {
	f := Fit{Process: process, What: what, Samples: len(v), Values: v}
	n := float64(len(v))
	if f.TooShort = n < 8; f.TooShort {
		return f
	}
	var mt, stt, stv float64
	for i := range v {
		mt += t[i] / n
		f.Mean += v[i] / n
	}
	for i := range v {
		stt += (t[i] - mt) * (t[i] - mt)
		stv += (t[i] - mt) * (v[i] - f.Mean)
	}
	if stt == 0 {
		return f
	}
	slope, rest := stv/stt, 0.0
	for i := range v {
		d := v[i] - f.Mean - slope*(t[i]-mt)
		rest += d * d
	}
	err := math.Sqrt(rest / (n - 2) / stt)
	f.Per10Min, f.Error = slope*600, err*600
	span := t[len(t)-1] - t[0]
	f.Grows = f.Per10Min-2*f.Error > tolerated*f.Mean && (slope-2*err)*span > floor
	return f
}
