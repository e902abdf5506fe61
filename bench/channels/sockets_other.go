//go:build !linux

package main

func sockets() []socket { return nil }
