//go:build linux && netns

package faultnet

func enter() (status int, on bool) {
	on, status = Enter()
	beds = append(beds, Namespace{})
	return status, on
}
