package discovery

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Static is a list of addresses. It emits them once.
type Static struct {
	Addrs []string // host, host:port, IPv6 with or without brackets
	Port  int      // of those that name none: DefaultPort
}

// Validate reports every address that is none, and an empty list.
func (s Static) Validate() error {
	_, err := s.candidates()
	return err
}

func (s Static) candidates() ([]Candidate, error) {
	errs := []error{checkPort("static", s.Port)}
	if len(s.Addrs) == 0 {
		errs = append(errs, errors.New("discovery: static: Addrs is empty; name at least one host:port"))
	}
	if len(s.Addrs) > MaxCandidates {
		errs = append(errs, fmt.Errorf("discovery: static: Addrs has %d entries; use at most %d", len(s.Addrs), MaxCandidates))
	}
	var list []Candidate
	for _, a := range s.Addrs {
		addr, err := Address(a, s.Port)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		list = append(list, Candidate{Addr: addr})
	}
	return list, errors.Join(errs...)
}

// Run implements Strategy.
func (s Static) Run(ctx context.Context, emit func(Snapshot)) error {
	list, err := s.candidates()
	if err != nil {
		return err
	}
	emit(whole(list))
	<-ctx.Done()
	return nil
}

func (s Static) String() string {
	if len(s.Addrs) > 4 {
		return fmt.Sprintf("static %s and %d more", strings.Join(s.Addrs[:4], ","), len(s.Addrs)-4)
	}
	return "static " + strings.Join(s.Addrs, ",")
}
