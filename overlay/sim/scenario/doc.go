// Package scenario runs simulations that are written down: it puts together the
// machines of an overlay and a broadcast tree by name, drives a sim.World
// through the steps of a Scenario, and reports what the papers report.
//
// The same Scenario gives the same Report but for the time and the memory that
// it took, on every machine.
package scenario
