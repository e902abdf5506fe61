// Package baseline holds protocols that simulations compare with, small enough
// to trust: broadcast by flooding, and Cyclon. No node runs them.
package baseline
