package main

import (
	"fmt"
	"slices"

	maquis "github.com/maquis-go/maquis/actors"
)

// nodeName is the name of the i-th of the processes of demo run.
func nodeName(i int) string {
	if i == 0 {
		return "coordinator"
	}
	return fmt.Sprintf("worker-%d", i)
}

// overlayOf describes the overlay of the i-th of n processes. The coordinator
// is the server of a client-server overlay; in a static one the processes form
// a ring with chords over a third and a fourth neighbor.
func overlayOf(kind string, i, n int) maquis.OverlaySpec {
	spec := maquis.OverlaySpec{Kind: kind}
	switch kind {
	case maquis.ClientServer:
		spec.Servers = []string{nodeName(0)}
	case maquis.Static:
		for _, d := range []int{1, 3, 4} {
			for _, j := range []int{(i + d) % n, (i + n*d - d) % n} {
				if name := nodeName(j); j != i && !slices.Contains(spec.Neighbors, name) {
					spec.Neighbors = append(spec.Neighbors, name)
				}
			}
		}
	}
	return spec
}
