package acme

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// way is one way to answer challenges, for all names of an order.
type way interface {
	// kind is the challenge type of the protocol.
	kind() string
	// prepare publishes what the CA will look for. A note about it is in the Store before others can see it.
	prepare(ctx context.Context, p proof) error
	// ready is called once, when everything is prepared. It returns when the CA can look. With an error it also returns
	// the name that is not ready; "" means all names.
	ready(ctx context.Context) (name string, err error)
	// undo removes what was prepared, and returns the errors.
	undo(ctx context.Context) []error
}

func (s *session) way() way {
	switch s.o.Challenge {
	case DNS01:
		return &dnsWay{published: published{i: s.Issuer, kindOf: DNS01}}
	case Command:
		return &dnsWay{published: published{i: s.Issuer, kindOf: Command}}
	case DNSPersist:
		return persistWay{s}
	}
	if s.o.Listener.Webroot != "" {
		return &webrootWay{published{i: s.Issuer, kindOf: webroot}}
	}
	return &listenWay{address: s.o.Listener.Listen, log: s.o.Log}
}

// trace is something that others can see and that must be removed again, even after a crash.
type trace struct {
	Kind  string `json:"kind"` // dns, command or webroot
	Name  string `json:"name"` // the name of the record or of the file
	Value string `json:"value,omitempty"`
	Dir   string `json:"dir,omitempty"` // the directory of a webroot
}

// webroot is the kind of a trace that is a file.
const webroot = "webroot"

// storeError is an error of the Store. Nothing was done.
type storeError struct{ error }

func (e storeError) Unwrap() error { return e.error }

// published notes what is about to be published, and removes it later.
type published struct {
	i      *Issuer
	kindOf string
	made   []trace
}

// note notes a trace before it is published. If it is noted already, a program that was killed may have published it,
// so it is published again.
func (p *published) note(t trace) error {
	all, err := p.i.traces()
	if err == nil && !slices.Contains(all, t) {
		err = p.i.save(tracesFile, append(all, t))
	}
	if err != nil {
		return storeError{err}
	}
	p.made = append(p.made, t)
	return nil
}

// undo removes everything that was published here. If ctx has ended, it still gets a short time for this.
func (p *published) undo(ctx context.Context) []error {
	patience := undoIn
	if ctx.Err() != nil {
		patience = undoAtEnd
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	errs := p.i.remove(limited, p.made)
	p.made = nil
	return errs
}

// The longest times for removing: normally, and when the program ends. What is not removed by then is still noted, and
// the next program removes it.
const (
	undoIn    = 30 * time.Second
	undoAtEnd = 3 * time.Second
)

func (i *Issuer) traces() ([]trace, error) {
	var all []trace
	err := i.load(tracesFile, &all)
	return all, err
}

// Tidy removes what an order or a crash has left where others can see it: DNS records, and files in a webroot. Ask
// calls it at its end. What cannot be removed now stays noted.
func (i *Issuer) Tidy(ctx context.Context) error {
	left, err := i.traces()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, undoIn)
	defer cancel()
	return errors.Join(i.remove(limited, left)...)
}

// Tidy is Issuer.Tidy where perhaps no ACME CA is asked any more. Of the options it needs the Store, and those by which
// the traces can be removed. No order may be under way.
func Tidy(ctx context.Context, o Options) error {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	return (&Issuer{o: o}).Tidy(ctx)
}

// Traces says what is noted in a Store that others can see and that is still to be removed, each in a few words.
func Traces(s Store) (out []string, err error) {
	all, err := (&Issuer{o: Options{Store: s}}).traces()
	for _, t := range all {
		out = append(out, t.String())
	}
	return out, err
}

// String names the trace for people.
func (t trace) String() string {
	switch t.Kind {
	case webroot:
		return "the file " + path.Join(t.Dir, wellKnown, t.Name)
	default:
		return "the TXT record " + t.Name
	}
}

// remove removes traces, and the notes of those that it removed.
func (i *Issuer) remove(ctx context.Context, traces []trace) (errs []error) {
	var gone []trace
	for _, t := range traces {
		if err := i.removeOne(ctx, t); err != nil {
			errs = append(errs, fmt.Errorf("what an order has left cannot be removed: %s: %w", t, err))
			continue
		}
		gone = append(gone, t)
	}
	if len(gone) == 0 {
		return errs
	}
	all, err := i.traces()
	if err == nil {
		all = slices.DeleteFunc(all, func(t trace) bool { return slices.Contains(gone, t) })
		if len(all) > 0 {
			err = i.save(tracesFile, all)
		} else {
			err = i.o.Store.Remove(tracesFile)
		}
	}
	if err != nil {
		errs = append(errs, err)
	}
	return errs
}

func (i *Issuer) removeOne(ctx context.Context, t trace) error {
	switch t.Kind {
	case webroot:
		return removeToken(t.Dir, t.Name)
	case DNS01:
		if i.o.DNS == nil {
			return errors.New("the DNS is not configured any more")
		}
		return i.o.DNS.Remove(ctx, t.Name, t.Value)
	case Command:
		if len(i.o.Command) == 0 {
			return errors.New("no command is configured any more")
		}
		return i.run(ctx, "remove", t.Name, t.Value)
	}
	return nil
}

// recordOf returns the name and the value of the TXT record of dns-01.
func recordOf(p proof) (name, value string) {
	return p.challenge.DNS01TXTRecordName(), p.challenge.DNS01KeyAuthorization()
}

// dnsWay puts a TXT record into the zone, by itself or by the owner's program.
type dnsWay struct {
	published
	names []string // the name of the order for which each record was made
}

func (d *dnsWay) kind() string { return acme.ChallengeTypeDNS01 }

func (d *dnsWay) prepare(ctx context.Context, p proof) error {
	name, value := recordOf(p)
	if err := d.note(trace{Kind: d.kindOf, Name: name, Value: value}); err != nil {
		return err
	}
	d.names = append(d.names, p.name)
	d.i.o.Progress("adding the TXT record " + name)
	if d.kindOf == Command {
		return d.i.run(ctx, "add", name, value)
	}
	return d.i.o.DNS.Add(ctx, name, value)
}

// everywhereIn returns the longest time to wait for one record: at most half of the time that is left. The order needs
// the rest, and the error can then still say which server lacks the record.
const everywhereIn = 5 * time.Minute

func (d *dnsWay) ready(ctx context.Context) (string, error) {
	if d.i.o.DNS == nil {
		return "", nil // the program has waited
	}
	for n, t := range d.made {
		d.i.o.Progress("waiting until every server of the zone has " + t.Name)
		if err := d.wait(ctx, t); err != nil {
			return d.names[n], err
		}
	}
	return "", nil
}

func (d *dnsWay) wait(ctx context.Context, t trace) error {
	patience := everywhereIn
	if end, has := ctx.Deadline(); has {
		patience = min(patience, time.Until(end)/2)
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return d.i.o.DNS.Wait(limited, t.Name, t.Value)
}
