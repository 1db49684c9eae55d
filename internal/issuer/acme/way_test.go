package acme

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// files is a Store in memory.
type files map[string][]byte

func (f files) Read(name string) ([]byte, error) {
	data, has := f[name]
	if !has {
		return nil, fs.ErrNotExist
	}
	return data, nil
}
func (f files) Write(name string, data []byte) error { f[name] = data; return nil }
func (f files) Remove(name string) error             { delete(f, name); return nil }

// lags is a zone in which some server always lacks the record of one name.
type lags struct{ name string }

func (l lags) Add(context.Context, string, string) error    { return nil }
func (l lags) Remove(context.Context, string, string) error { return nil }
func (l lags) Wait(ctx context.Context, name, _ string) error {
	if !strings.HasSuffix(name, l.name) {
		return nil
	}
	<-ctx.Done()
	return errors.New("ns2 does not have it")
}

// If a record does not reach every server, the error names the right name. The wait ends early enough for the error to
// be reported.
func TestUnreadyNameIsTold(t *testing.T) {
	i := &Issuer{o: Options{Challenge: DNS01, DNS: lags{"b.example"}, Store: files{}, Now: time.Now,
		Progress: func(string) {}, Log: func(string) {}}, url: "https://ca.test/dir"}
	s := &session{Issuer: i}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	way := s.way()
	for _, name := range []string{"a.example", "b.example", "c.example"} {
		p := proof{name: name, challenge: acme.Challenge{Type: way.kind(), KeyAuthorization: "x." + name,
			Identifier: acme.Identifier{Type: "dns", Value: name}}}
		if err := way.prepare(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	name, err := way.ready(ctx)
	if name != "b.example" || ctx.Err() != nil {
		t.Errorf("%q is not ready: %v; the time of the order: %v", name, err, ctx.Err())
	}
	if told := s.unprepared(ctx, way, name, err); !strings.Contains(told.Error(),
		"dns-01 of b.example: ns2 does not have it") {
		t.Errorf("told: %v", told)
	}
}
