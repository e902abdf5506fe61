// Package linkemu emulates a link: delay, jitter, loss, a rate and a bounded
// buffer. It is for tests and benchmarks on machines without tc netem.
//
// A Line is one direction, a pure machine: packets and the time go in, packets
// come out when they are due. The same seed and the same calls give the same
// losses and delays. Package tun drives lines between network namespaces of
// Linux, and command run puts two commands at the ends of one:
//
//	go run ./internal/linkemu/run --rtt 20ms --rate 1Gbit -- ping -c 5 '{peer}'
package linkemu
