package peerservice

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/maquis-go/maquis/messages"
	"github.com/maquis-go/maquis/overlay"
	"github.com/maquis-go/maquis/overlay/roster"
)

// orderWithin bounds the wait for the answer to an order when the caller's
// context does not. The manager answers in microseconds. Our choice.
const orderWithin = 10 * time.Second

// done is the manager's answer to an order.
type done struct{ err error }

// answer is a process that hands one message to a goroutine: unlike a future
// it can be waited for together with a context.
type answer chan any

// SendUserMessage implements actor.Process.
func (a answer) SendUserMessage(_ *actor.PID, m any) {
	select {
	case a <- actor.UnwrapEnvelopeMessage(m):
	default:
	}
}

// SendSystemMessage implements actor.Process.
func (answer) SendSystemMessage(*actor.PID, any) {}

// Stop implements actor.Process.
func (answer) Stop(*actor.PID) {}

// expect makes a process that can be answered. It must be removed.
func (s *Service) expect() (answer, *actor.PID, error) {
	a, reg := make(answer, 1), s.cfg.System.ProcessRegistry
	pid, ok := reg.Add(a, supervisorName+"/answer"+reg.NextId())
	if !ok {
		return nil, nil, fmt.Errorf("peerservice: the actor id %q is taken", pid.Id)
	}
	return a, pid, nil
}

// ask sends a message to an actor and waits for the answer.
func (s *Service) ask(ctx context.Context, to *actor.PID, m any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, orderWithin)
	defer cancel()
	a, pid, err := s.expect()
	if err != nil {
		return nil, err
	}
	defer s.cfg.System.ProcessRegistry.Remove(pid)
	s.root.RequestWithCustomSender(to, m, pid)
	select {
	case r := <-a:
		if _, dead := r.(*actor.DeadLetterResponse); dead {
			return nil, ErrStopped
		}
		return r, nil
	case <-s.failed:
		return nil, s.Err()
	case <-s.stopped:
		return nil, ErrStopped
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// order gives the manager an order and waits until it is carried out.
func (s *Service) order(ctx context.Context, m any) error {
	r, err := s.ask(ctx, s.pids[peersPart], m)
	if err != nil {
		return err
	}
	return r.(done).err
}

// JoinError says why no contact accepted this node.
type JoinError struct {
	Contacts []ContactError
	Err      error // why waiting ended, or nil: a contact's refusal is final
}

// ContactError is why one contact did not accept; Reason is empty if it has
// not answered yet.
type ContactError struct {
	Contact string
	Reason  messages.Reason
}

// Error implements error.
func (e *JoinError) Error() string {
	var b strings.Builder
	b.WriteString("peerservice: no contact accepted this node")
	for _, c := range e.Contacts {
		fmt.Fprintf(&b, "; %s: %s", c.Contact, cmp.Or(c.Reason, "no answer yet"))
	}
	return b.String()
}

// Unwrap returns why waiting ended.
func (e *JoinError) Unwrap() error { return e.Err }

// joinWait is a Join that waits.
type joinWait struct {
	pid     *actor.PID
	reasons map[string]messages.Reason // why each contact failed last; "" not yet
	once    bool                       // the first failure ends it
}

// Join calls contacts, "host:port", until one has answered with its roster and
// this node is known to others, or ctx ends, or a refusal is final because the
// name is taken. An error is a *JoinError, or ErrStopped. The contacts are
// called on in the background.
func (s *Service) Join(ctx context.Context, contacts []string) error {
	if len(contacts) == 0 {
		return fmt.Errorf("peerservice: join needs at least one contact, as host:port")
	}
	return s.join(ctx, &joinWait{}, contacts, func(pid *actor.PID) {
		s.root.RequestWithCustomSender(s.pids[peersPart], &messages.JoinOrder{Contacts: contacts}, pid)
	})
}

// Try calls a contact once, for somebody who has more of them: when it does not
// let this node in, or ctx ends, it is not called on. An error is a *JoinError,
// or ErrStopped; that of a node that leaves is ErrStopped, too.
func (s *Service) Try(ctx context.Context, contact string) error {
	s.mu.Lock()
	leaving, kept := s.leaving, slices.Contains(s.contacts, contact)
	s.mu.Unlock()
	if leaving {
		return ErrStopped
	}
	err := s.join(ctx, &joinWait{once: true}, []string{contact}, func(*actor.PID) {
		s.tellRoster(joinEvent([]string{contact}))
		s.tellStacks(false, joinEvent([]string{contact}))
	})
	forget := overlay.Command{Order: overlay.Forget{Contacts: []string{contact}}}
	if !kept {
		s.tellRoster(forget)
	}
	if !kept && err != nil {
		s.tellStacks(false, forget)
	}
	return err
}

// join gives an order and waits for its end.
func (s *Service) join(ctx context.Context, w *joinWait, contacts []string, order func(*actor.PID)) error {
	a, pid, err := s.expect()
	if err != nil {
		return err
	}
	defer s.cfg.System.ProcessRegistry.Remove(pid)
	w.pid, w.reasons = pid, make(map[string]messages.Reason)
	for _, c := range contacts {
		w.reasons[c] = ""
	}
	s.mu.Lock()
	s.waiters[pid.Id] = w
	s.mu.Unlock()
	order(pid)
	select {
	case r := <-a:
		if d, ok := r.(done); ok && d.err == nil {
			return nil
		} else if !ok {
			err = ErrStopped
		}
	case <-s.failed:
		err = s.Err()
	case <-s.stopped:
		err = ErrStopped
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiters, pid.Id)
	e := &JoinError{Err: err}
	for _, c := range contacts {
		e.Contacts = append(e.Contacts, ContactError{c, w.reasons[c]})
	}
	return e
}

// Call calls contacts, "host:port", from now on, as it does seeds. A node that
// leaves calls nobody.
func (s *Service) Call(contacts []string) {
	s.mu.Lock()
	leaving := s.leaving
	s.mu.Unlock()
	if !leaving && len(contacts) > 0 {
		s.call(contacts)
	}
}

// Forget calls contacts no more that Join, Call or the configuration named. Links
// that stand are left alone, and a call under way is ended by its answer.
func (s *Service) Forget(contacts []string) {
	s.mu.Lock()
	s.contacts = slices.DeleteFunc(slices.Clone(s.contacts), func(c string) bool { return slices.Contains(contacts, c) })
	s.mu.Unlock()
	forget := overlay.Command{Order: overlay.Forget{Contacts: contacts}}
	s.tellRoster(forget)
	s.tellStacks(false, forget)
}

// answerJoins ends the Joins for which over says so, with its error.
func (s *Service) answerJoins(over func(*joinWait) (bool, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, w := range s.waiters {
		if ok, err := over(w); ok {
			delete(s.waiters, id)
			s.root.Send(w.pid, done{err})
		}
	}
}

// Leave says farewell to all, waits until that and what was queued before is
// on its way, and parts: sessions with all members end. Join brings the node
// back, in a new generation.
func (s *Service) Leave(ctx context.Context) error {
	if err := s.order(ctx, &messages.LeaveOrder{}); err != nil {
		return fmt.Errorf("peerservice: leave: %w", err)
	}
	if err := s.cfg.Registry.Drain(ctx); err != nil {
		return fmt.Errorf("peerservice: leave: what was queued is not on its way: %w", err)
	}
	return s.order(ctx, part{})
}

// ForceLeave declares a member that is down gone, for all.
func (s *Service) ForceLeave(ctx context.Context, name string) error {
	return s.order(ctx, &messages.ForceLeaveOrder{Name: name})
}

// Disconnect drops the links to a member and dials it no more, until a Join
// names one of its addresses. It stays a member as long as others have links
// to it.
func (s *Service) Disconnect(ctx context.Context, name string) error {
	return s.order(ctx, &messages.DisconnectOrder{Name: name})
}

// SetTags replaces this node's tags, at most 1 KiB; all members hear of it.
func (s *Service) SetTags(tags map[string]string) error {
	return s.order(context.Background(), &messages.SetTagsOrder{Tags: tags})
}

// SetKinds replaces the kinds that this node spawns for others.
func (s *Service) SetKinds(kinds []string) error {
	rec := s.Self()
	rec.Kinds = slices.Clone(kinds)
	if err := rec.Validate(); err != nil {
		return err
	}
	return s.order(context.Background(), alter{roster.SetKinds{Kinds: rec.Kinds}})
}

// SetLeaving tells all members that this node takes no new work, or ends that:
// the first step of an orderly departure.
func (s *Service) SetLeaving(ctx context.Context, leaving bool) error {
	return s.order(ctx, alter{roster.SetLeaving{Leaving: leaving}})
}
