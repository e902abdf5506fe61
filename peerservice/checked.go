//go:build invariants

package peerservice

// checked makes hosts verify their machines' invariants after every step.
const checked = true
