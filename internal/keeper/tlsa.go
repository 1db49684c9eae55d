package keeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/dane"
	"mailcertd/internal/dns"
	"mailcertd/internal/plan"
	"mailcertd/internal/state"
)

// Bounds of a round of questions about TLSA records.
const (
	tlsaRound  = 90 * time.Second // in the daemon
	tlsaWaited = 8 * time.Second  // where a person waits
	tlsaAtOnce = 8                // names at the same time
	// tlsaAgain is the shortest time between two rounds where what came of the first could not be noted in the state.
	tlsaAgain = time.Minute
)

// tlsaAsker publishes TLSA records and looks at them beside the loop. Like the asker it belongs to the loop.
type tlsaAsker struct {
	*base
	state   *stateFile
	asking  bool // a round is under way
	answers chan tlsaAnswer
	wake    chan<- struct{}
	// tried are the edits of the last round. Edits that differ from them are made at once, and the same ones again when
	// the next look is due: a secondary name server may only be late.
	tried string
	// reread says that a person has let the daemon read its configuration since the last round: what failed is tried
	// again at once, because it may be what the person has corrected.
	reread bool
	// last is when the last round began; zero: none has.
	last time.Time
	// seen is when this process last looked, with the reading of the monotonic clock; zero: it has not.
	seen time.Time
}

// tlsaQuestions are one round: the records to publish, and then the names to look at.
type tlsaQuestions struct {
	names []string
	edits []dane.Edit
	// brief says that a name without any record, as the resolver says, needs no question to its name servers. With
	// careful they are asked nevertheless, as far as they answer.
	brief, careful bool
	// former are the names that are no longer configured: of them too the resolver's word is enough that all is gone.
	former []string
	// seats are the servers that were asked before, by the names of the records.
	seats  map[string]seats
	client *dns.Client
}

// seats are the servers of a zone.
type seats struct {
	zone string
	all  []dns.Seat
}

// tlsaAnswer is what came of a round.
type tlsaAnswer struct {
	look    dane.Look
	changed []string // the names whose records were changed
	err     error    // why records could not be published; nil: they are, or there were none to publish
	edits   bool     // there were some
}

// questions prepares a round for this decision.
func (ta *tlsaAsker) questions(d dane.Decision, edits []dane.Edit) (tlsaQuestions, error) {
	q := tlsaQuestions{names: d.Names, edits: edits,
		brief: ta.cfg.DANE.Publish == config.PublishNone && !d.Governed, careful: d.Careful}
	for _, l := range d.Former {
		q.former = append(q.former, l.Name)
	}
	q.seats = map[string]seats{}
	for _, n := range d.Memory.Names {
		of := seats{zone: n.Zone}
		for _, s := range n.Servers {
			if s.Addr != "" {
				of.all = append(of.all, dns.Seat{Server: s.Name, Addr: s.Addr})
			}
		}
		q.seats[n.Name] = of
	}
	o, err := ta.dnsOptions(len(edits) > 0)
	if err != nil {
		return q, err
	}
	q.client, err = dns.New(o)
	return q, err
}

// due is when the next round is to begin, and with which edits; zero: never.
func (ta *tlsaAsker) due(d dane.Decision, st state.State) (at time.Time, edits []dane.Edit) {
	if !ta.o.DANE || !plan.AsksTLSA(ta.cfg, st.DANE) || d.LookAt.IsZero() {
		return time.Time{}, nil
	}
	now := ta.o.Now()
	if len(d.Edits) == 0 {
		return d.LookAt, nil
	}
	f, failed := st.Failures[plan.TLSAFailure]
	switch {
	case ta.reread:
		return now, d.Edits
	case failed && now.Before(f.Next):
		return soonest(d.LookAt, f.Next), nil
	case failed, textOf(d.Edits) != ta.tried:
		return now, d.Edits
	}
	return d.LookAt, d.Edits
}

// textOf is equal for equal edits, which have the same times to live too.
func textOf(edits []dane.Edit) string { return fmt.Sprintf("%#v", edits) }

// askLater begins a round if it is due, and returns when the next one is.
func (ta *tlsaAsker) askLater(ctx context.Context, p plan.Plan) time.Time {
	at, edits := ta.due(p.TLSA, p.State)
	if at.IsZero() || ta.asking {
		return time.Time{}
	}
	now := ta.o.Now()
	if lost := ta.last.Truncate(time.Second).After(p.State.DANE.Looked); lost && !ta.last.After(now) {
		if again := ta.last.Add(tlsaAgain); at.Before(again) {
			at = again
		}
	}
	if at.After(now) {
		return at
	}
	if err := ta.begin(ctx, p, edits); err != nil {
		ta.take(ctx, tlsaAnswer{err: err, edits: true})
		ta.lookAgain() // it finds out when the next try is
	}
	return time.Time{}
}

// lookAgain makes the loop look again.
func (ta *tlsaAsker) lookAgain() {
	select {
	case ta.wake <- struct{}{}:
	default:
	}
}

// publishFirst begins a round if there are records to publish: that of a key that was lost does not wait until sendmail
// is seen to use the new one. The caller holds the lock.
func (ta *tlsaAsker) publishFirst(ctx context.Context, p plan.Plan) {
	at, edits := ta.due(p.TLSA, p.State)
	if len(edits) > 0 && !ta.asking && !at.After(ta.o.Now()) {
		_ = ta.begin(ctx, p, edits) // askLater reports the error
	}
}

// begin begins a round.
func (ta *tlsaAsker) begin(ctx context.Context, p plan.Plan, edits []dane.Edit) error {
	ta.last, ta.reread = ta.o.Now(), false
	q, err := ta.questions(p.TLSA, edits)
	if err != nil {
		return err
	}
	if len(edits) > 0 {
		ta.tried = textOf(edits)
	}
	ta.asking = true
	go func() {
		a := q.ask(ctx, tlsaRound, ta.o.Now)
		ta.answers <- a
		ta.lookAgain()
	}()
	return nil
}

// arrivals notes what came of a round, if there is something. It does not wait.
func (ta *tlsaAsker) arrivals(ctx context.Context) {
	select {
	case a := <-ta.answers:
		ta.asking = false
		if ctx.Err() == nil {
			ta.take(ctx, a)
		}
	default:
	}
}

// look looks at the records while a person waits, carefully where a key is changed by it. Nothing is published or
// remembered.
func (ta *tlsaAsker) look(ctx context.Context, p plan.Plan, careful bool) (dane.Look, bool) {
	if !ta.o.DANE || !plan.AsksTLSA(ta.cfg, p.State.DANE) {
		return dane.Look{}, false
	}
	q, err := ta.questions(p.TLSA, nil)
	if err != nil || len(q.names) == 0 {
		return dane.Look{}, false
	}
	q.careful = q.careful || careful
	defer ta.working("asking the DNS for TLSA records", tlsaWaited)()
	a := q.ask(ctx, tlsaWaited, ta.o.Now)
	return a.look, ctx.Err() == nil
}

// lookNow is look, and what was seen is remembered. The problems say of which names it is not known whether they have
// records that another key will not fit; a name that had some is not among them, because its key is not changed.
func (ta *tlsaAsker) lookNow(ctx context.Context, p plan.Plan) (unknown []plan.Problem) {
	seen, looked := ta.look(ctx, p, true)
	if !looked {
		return nil
	}
	ta.take(ctx, tlsaAnswer{look: seen})
	return ta.doubts(seen, p)
}

// doubts are the problems of lookNow.
func (ta *tlsaAsker) doubts(seen dane.Look, p plan.Plan) (unknown []plan.Problem) {
	for _, n := range seen.Names {
		if n.Err == "" || p.TLSA.Governed {
			continue
		}
		unknown = append(unknown, plan.Problem{Reason: plan.TLSAUnknown, Severity: plan.Warning, Path: ta.cfg.Path,
			Text: "mailcertd could not find out whether " + n.Name + " has TLSA records, which a new key would not " +
				"match: " + n.Err,
			Hint: "if there are such records, publish that of the new key now: `mailcertd status` shows it"})
	}
	return unknown
}

// take notes what came of a round in the state. The next look decides what follows from it.
func (ta *tlsaAsker) take(ctx context.Context, a tlsaAnswer) {
	now := ta.o.Now()
	for _, name := range a.changed {
		ta.log(Info, "the TLSA records were changed in the DNS", "name", name)
	}
	_ = ta.state.change(ctx, func(s *state.State) {
		if !a.look.At.IsZero() {
			if !ta.seen.IsZero() {
				a.look.Elapsed = a.look.At.Sub(ta.seen)
			}
			ta.seen = a.look.At
			s.DANE = s.DANE.Saw(a.look)
		}
		switch {
		case !a.edits:
		case a.err == nil:
			delete(s.Failures, plan.TLSAFailure)
		default:
			fail(s, plan.TLSAFailure, a.err, now)
			ta.log(Warn, "the TLSA records could not be published", "reason", string(plan.TLSAUpdate), "error",
				a.err.Error(), "hint", plan.TLSAUpdateHint, "next",
				s.Failures[plan.TLSAFailure].Next.Format(time.RFC3339))
		}
	})
}

// close waits for the open round until late.
func (ta *tlsaAsker) close(late <-chan time.Time) {
	if !ta.asking {
		return
	}
	select {
	case <-ta.answers:
	case <-late:
	}
}

// ask publishes and looks. It shares nothing with the Keeper.
func (q tlsaQuestions) ask(ctx context.Context, atMost time.Duration, now func() time.Time) tlsaAnswer {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	a := tlsaAnswer{edits: len(q.edits) > 0}
	for _, e := range q.edits {
		changed, err := q.edit(ctx, e)
		if changed {
			a.changed = append(a.changed, e.Name)
		}
		a.err = errors.Join(a.err, err)
	}
	// A record that a server has now may be gone when the last one answers: the look counts from before its questions.
	a.look = dane.Look{At: now(), Names: make([]dane.Name, len(q.names))}
	var all sync.WaitGroup
	turn := make(chan struct{}, tlsaAtOnce)
	for i, name := range q.names {
		all.Go(func() {
			turn <- struct{}{}
			a.look.Names[i] = q.look(ctx, name)
			<-turn
		})
	}
	all.Wait()
	a.look.Took = max(0, now().Sub(a.look.At))
	return a
}

// edit makes one name have the records that it must have.
func (q tlsaQuestions) edit(ctx context.Context, e dane.Edit) (changed bool, err error) {
	p, err := q.client.Place(ctx, e.Name)
	if err != nil {
		return false, err
	}
	of := func(all []dane.Record) (out []dns.Record) {
		for _, r := range all {
			out = append(out, dns.TLSA(p.Name, dns.Association{Usage: r.Usage, Selector: r.Selector,
				Matching: r.Matching, Data: r.Data}, time.Duration(r.TTL)*time.Second))
		}
		return out
	}
	return q.client.Amend(ctx, p.Zone, p.Name, dns.TypeTLSA,
		dns.Amendment{Must: of(e.Must), Drop: of(e.Drop), Retime: of(e.Retime)})
}

// look asks every name server for the records of a name, and the resolver whether they are signed.
func (q tlsaQuestions) look(ctx context.Context, name string) dane.Name {
	n := dane.Name{Name: name}
	v, verr := q.client.Validated(ctx, name, dns.TypeTLSA)
	none := (q.brief || slices.Contains(q.former, name)) && verr == nil && len(v.Records) == 0
	if none && !q.careful {
		return n
	}
	if ctx.Err() != nil {
		n.Err = "the DNS does not answer in time"
		return n
	}
	p, err := q.client.Place(ctx, name)
	var views []dns.View
	if err == nil {
		n.Zone = p.Zone.Name
		if len(p.Aliases) > 0 {
			n.Alias, n.AliasTTL = p.Name, int(p.AliasTTL/time.Second)
		}
		before := q.seats[name]
		if before.zone != p.Zone.Name {
			before.all = nil
		}
		views, err = q.client.Everywhere(ctx, p.Zone, p.Name, dns.TypeTLSA, before.all)
	}
	if none && err != nil { // the resolver's word is all there is
		return dane.Name{Name: name}
	}
	if err != nil {
		n.Err = dns.Reason(err, name)
		for _, cause := range []error{err, verr} {
			if errors.Is(cause, dns.ErrBogus) { // nothing can be found in such a zone
				n.Signed, n.SignedWhy = dane.SignedBogus, dns.Reason(cause, name)
			}
		}
		return n
	}
	for _, view := range views {
		n.Servers = append(n.Servers, serverOf(view, name))
	}
	n.Signed, n.SignedWhy = signatures(v, verr, n)
	return n
}

// serverOf is a view of that name as package dane has it.
func serverOf(v dns.View, name string) dane.Server {
	s := dane.Server{Name: v.Server, Addr: v.Addr, Away: v.Away, Beside: dane.Beside(v.Beside), Wild: v.Wild}
	if v.Err != nil {
		s.Err = dns.Reason(v.Err, name)
	}
	if v.Alias != "" {
		s.Err = "it has a CNAME record that points to " + v.Alias
	}
	for _, r := range v.Records {
		if a, is := r.Association(); is {
			s.Records = append(s.Records, dane.Record{Usage: a.Usage, Selector: a.Selector, Matching: a.Matching,
				Data: a.Data, TTL: int(r.TTL() / time.Second)})
		}
	}
	return s
}

// signatures is what the resolver says of the signatures, and why that is not yes.
func signatures(v dns.Validation, err error, n dane.Name) (dane.Signed, string) {
	var e *dns.Error
	answered := slices.ContainsFunc(n.Servers, func(s dane.Server) bool { return s.Err == "" })
	switch {
	case errors.Is(err, dns.ErrBogus), errors.As(err, &e) && e.Kind == dns.Failed && answered:
		return dane.SignedBogus, dns.Reason(err, n.Name)
	case err != nil:
		return dane.SignedUnknown, dns.Reason(err, n.Name)
	case !v.Local:
		return dane.SignedUnknown, "the resolver " + v.Resolver + " is not on this host, so its answer could be " +
			"changed on the way"
	case !v.AD:
		return dane.SignedNo, "the resolver " + v.Resolver + " has found no signatures, or checks none"
	}
	return dane.SignedYes, ""
}
