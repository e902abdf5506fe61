// Package pacing keeps the queue of a line short while bulk fills it: a Governor
// says how fast each of the connections of a peer that carry bulk may send. It
// looks at the round trips of those connections, as LEDBAT (RFC 6817) and TCP Vegas
// look at delay: what they are above the shortest is the queue. It differs from both
// in that it only ever trims what the congestion control of the system finds, by a
// bounded part, and in that it gives up when trimming does not shorten the queue:
// then the queue is another's, or no queue at all, and bulk is not to starve for it.
//
// A Governor is a pure state machine: it has no clock and does no input or output.
// It is not safe for concurrent use.
package pacing

import "time"

// Times and steps of a Governor, our choice.
const (
	// Interval is the least time between two steps. A step of less than three
	// round trips would not see what the one before did.
	Interval = 50 * time.Millisecond
	// target is the queue that is aimed at, at least.
	target = 2 * time.Millisecond
	// begin is how many steps in a row the queue is longer before there is a limit:
	// bulk that comes in bursts, and processors that are busy, make round trips long
	// now and then; a line that is full makes them all long.
	begin = 20
	// trim is what the limit is cut to while the queue is longer in two steps, one of
	// which may be a moment without a processor, and when the last cut has shown.
	trim = 0.92
	// grow is what the limit grows by in a step without a queue.
	grow = 0.025
	// floor is the part of its rate below which the limit is not cut.
	floor = 0.8
	// patience is how many steps the queue may stay as long before it is given up.
	patience = 16
	// settle is how many steps it takes to see what a change has done.
	settle = 5
	// least is the part of its rate that bulk keeps, or it is given up.
	least = 0.75
	// keeps is the same over a longer time, of slowly steps, once the queue is short.
	keeps, slowly = 0.85, 20
	// gain is how much more it must be without the limit, for that to have been
	// what kept it down.
	gain = 1.1
	// After a limit that did harm the next comes after retryMin, then after twice
	// that, at most retryMax.
	retryMin, retryMax = 10 * time.Second, 2 * time.Minute
)

// Sample is what was seen since the last step.
type Sample struct {
	Now   time.Duration // of a clock that does not go back
	Rate  float64       // bytes a second that arrived, of all connections that carry bulk
	Conns int           // how many those were
	Trip  time.Duration // their round trip now
	Base  time.Duration // the shortest round trip to the peer
}

// Target returns how long the queue may be when the shortest round trip is base:
// 2 ms, or an eighth of base if that is more.
func Target(base time.Duration) time.Duration { return max(target, base/8) }

// Governor decides for one peer. Its zero value lets connections send as they can.
type Governor struct {
	limit float64       // bytes a second of all connections; 0: none
	mean  float64       // of the rate, lately
	slow  float64       // the same over a longer time, with a limit
	whole float64       // the mean without a limit; more if there was more since
	steps int           // since the limit began or ended
	cut   int           // since the limit was cut
	long  int           // steps in a row with a queue longer than the target
	stuck int           // steps of a limit since the queue was as short
	short time.Duration // that length
	tried bool          // a limit has just ended since there was little left with it
	kept  float64       // the mean then
	retry time.Duration
	again time.Duration // when the next limit may begin
}

// Step takes a sample and returns how many bytes a second each connection that
// carries bulk may send; 0: as many as it can.
func (g *Governor) Step(s Sample) float64 {
	if s.Conns == 0 || s.Rate <= 0 {
		*g = Governor{retry: g.retry, again: g.again}
		return 0
	}
	if g.mean == 0 {
		g.mean = s.Rate
	}
	g.mean += (s.Rate - g.mean) / settle
	g.steps++
	queue, aim := s.Trip-s.Base, Target(s.Base)
	if g.long++; queue <= aim {
		g.long = 0
	}
	if g.limit == 0 {
		g.wait(s.Now)
	} else {
		g.hold(s.Now, queue, aim)
	}
	return g.limit / float64(s.Conns)
}

// wait is without a limit.
func (g *Governor) wait(now time.Duration) {
	if g.tried && g.steps > settle {
		if g.tried = false; g.mean > gain*g.kept {
			g.putOff(now)
		}
	}
	if g.long >= begin && g.steps > settle && !g.tried && now >= g.again {
		g.limit, g.whole, g.steps, g.cut, g.long = trim*g.mean, g.mean, 0, 0, 0
		g.stuck, g.short = 0, 1<<62
	}
}

// hold steers a limit that stands.
func (g *Governor) hold(now, queue, aim time.Duration) {
	g.whole = max(g.whole, g.mean)
	g.cut++
	g.stuck++
	if queue <= aim || queue < g.short {
		g.short, g.stuck = max(queue, aim), 0
	}
	if g.steps <= settle {
		g.slow = g.mean
	}
	g.slow += (g.mean - g.slow) / slowly
	switch {
	case g.stuck > patience: // it is another's queue, or none
		g.putOff(now)
		g.free()
	case g.steps > settle && g.mean < least*g.whole, g.steps > slowly && g.long == 0 && g.slow < keeps*g.whole: // it does harm, or there is less to send
		g.tried, g.kept = true, g.mean
		g.free()
	case g.long > 0:
		if g.long >= 2 && g.cut >= settle {
			g.limit, g.cut = max(trim*g.limit, min(floor*g.whole, g.limit)), 0
		}
	default:
		g.limit *= 1 + grow*(1-0.9*max(queue, 0).Seconds()/aim.Seconds())
		if g.limit > 4*g.whole { // it limits nothing
			g.retry = 0
			g.free()
		}
	}
}

func (g *Governor) free() { g.limit, g.steps, g.long = 0, 0, 0 }

// putOff has the next limit come later.
func (g *Governor) putOff(now time.Duration) {
	g.retry = min(max(2*g.retry, retryMin), retryMax)
	g.again = now + g.retry
}
