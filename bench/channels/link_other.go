//go:build !linux

package main

func openTun(*cell, int) (link, error) {
	return nil, errNoTun
}
