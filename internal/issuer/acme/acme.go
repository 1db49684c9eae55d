// Package acme asks an ACME CA for certificates (RFC 8555). mholt/acmez speaks the protocol; what must survive a crash,
// how long something is waited for, and what a no means is decided here.
//
// A certificate costs one order, whatever happens: what was done is noted in the Store before and after, and the next
// question continues from there.
package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/issuer"
)

// The ways to prove that a name is ours.
const (
	HTTP       = "http"        // http-01, RFC 8555 section 8.3
	DNS01      = "dns"         // dns-01, RFC 8555 section 8.4
	DNSPersist = "dns-persist" // dns-persist-01, draft-ietf-acme-dns-persist: one record that stays
	Command    = "command"     // dns-01 by a program of the owner
)

// Challenges are the ways that Options.Challenge knows.
func Challenges() []string { return []string{HTTP, DNS01, DNSPersist, Command} }

// DefaultPatience bounds one question, validation by the CA included.
const DefaultPatience = 10 * time.Minute

// Options are what an Issuer needs. Directory, Store and Now are required, and what its Challenge uses.
type Options struct {
	Directory string   // letsencrypt, letsencrypt-staging, or an https URL
	AgreeTOS  bool     // the owner agrees to the CA's terms of service
	Contact   []string // e-mail addresses
	Profile   string   // "": tlsserver at Let's Encrypt where it is offered, else what the CA chooses
	EAB       EAB
	CAs       []byte // PEM: who vouches for the directory's own https; nil: the system's roots
	Challenge string
	Listener  Listener
	Command   []string // for Command: a program and its arguments; add or remove, NAME and VALUE are appended
	DNS       DNS      // for DNS01; with Command, where not nil, it waits for the record
	Lookup    Lookup   // for DNSPersist
	// PreferredChain is the common name of a root: of the chains that the CA offers, the one to that root is taken;
	// "" or not offered: the CA's first.
	PreferredChain string
	Store          Store
	Log            func(text string) // what went wrong beside the order; nil: dropped
	Progress       func(step string) // for a person who waits; nil: dropped
	Now            func() time.Time
	// Proxy is asked which proxy leads to the directory; nil: none does.
	Proxy func(*http.Request) (*url.URL, error)
	// Patience bounds one question; zero: DefaultPatience. An order that is open then is continued by the next one.
	Patience time.Duration
	Agent    string // the program's name and version, for the CA's logs
}

// EAB is an external account binding (RFC 8555 section 7.3.4). HMAC is the key itself, no longer encoded.
type EAB struct {
	KID  string
	HMAC []byte
}

// Listener says how http-01 is answered.
type Listener struct {
	Listen  string // address and port, such as ":80"; bound only while an order needs it
	Webroot string // the directory that a web server of this host serves; "": nothing is written, Listen is used
}

// DNS changes TXT records and knows the servers that answer for them. Names are absolute, without a final dot.
type DNS interface {
	// Add adds a record beside those of the same name; one that is there already is no error.
	Add(ctx context.Context, name, value string) error
	// Remove removes a record; one that is not there is no error.
	Remove(ctx context.Context, name, value string) error
	// Wait waits until every server of the zone answers with the record.
	Wait(ctx context.Context, name, value string) error
}

// Lookup asks a server of the zone itself for TXT records; none at all is no error.
type Lookup func(ctx context.Context, name string) ([]string, error)

// Issuer asks one directory. It is asked by one goroutine at a time, and by one process at a time over one Store.
type Issuer struct {
	o        Options
	url      string
	roots    *x509.CertPool
	answerIn time.Duration // bounds one answer of the directory
}

var _ issuer.Issuer = (*Issuer)(nil)

// directories are those that have a name.
var directories = map[string]string{
	"letsencrypt":         "https://acme-v02.api.letsencrypt.org/directory",
	"letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}

// DirectoryURL is the URL of a directory, given by name or as a URL. Only https is spoken (RFC 8555 section 6.1).
func DirectoryURL(name string) (string, error) {
	if u := directories[name]; u != "" {
		return u, nil
	}
	u, err := url.Parse(name)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return "", fmt.Errorf("directory %q: want letsencrypt, letsencrypt-staging or an https URL", name)
	}
	return u.String(), nil
}

// New checks the options. Nothing is asked yet.
func New(o Options) (*Issuer, error) {
	i := &Issuer{o: o, answerIn: answerIn}
	var errs []error
	var err error
	if i.url, err = DirectoryURL(o.Directory); err != nil {
		errs = append(errs, err)
	}
	if !slices.Contains(Challenges(), o.Challenge) {
		errs = append(errs, fmt.Errorf("challenge %q: must be %s", o.Challenge, strings.Join(Challenges(), ", ")))
	}
	if o.Store == nil || o.Now == nil {
		errs = append(errs, errors.New("a store and a clock are required"))
	}
	_, _, err = net.SplitHostPort(o.Listener.Listen)
	if o.Challenge == HTTP && o.Listener.Webroot == "" && err != nil {
		errs = append(errs, fmt.Errorf("http listen: %w", err))
	}
	if o.Challenge == Command && len(o.Command) == 0 {
		errs = append(errs, errors.New("challenge command: no command is given"))
	}
	if o.Challenge == DNS01 && o.DNS == nil || o.Challenge == DNSPersist && o.Lookup == nil {
		errs = append(errs, fmt.Errorf("challenge %s: nothing asks the DNS", o.Challenge))
	}
	if (o.EAB.KID == "") != (len(o.EAB.HMAC) == 0) {
		errs = append(errs, errors.New("external account binding: want a key identifier and an HMAC key, or neither"))
	}
	if len(o.CAs) > 0 {
		i.roots = x509.NewCertPool()
		if !i.roots.AppendCertsFromPEM(o.CAs) {
			errs = append(errs, errors.New("what vouches for the directory contains no certificate in PEM"))
		}
	}
	if i.o.Patience <= 0 {
		i.o.Patience = DefaultPatience
	}
	if i.o.Log == nil {
		i.o.Log = func(string) {}
	}
	if i.o.Progress == nil {
		i.o.Progress = func(string) {}
	}
	return i, errors.Join(errs...)
}

// Ask obtains the certificate that a request asks for: it continues an open order for the same names and key, or places
// one. The Reply has the leaf, and in CAs the certificates of the chain from the leaf's issuer upwards, as the CA sent
// them. Nothing listens and nothing runs any more when it returns.
//
// The order stays noted until Taken says that the answer is kept: asked again before, Ask answers with the same
// certificate, unless that is what the request Replaces.
func (i *Issuer) Ask(ctx context.Context, r issuer.Request) (issuer.Reply, error) {
	limited, cancel := context.WithTimeout(ctx, i.o.Patience)
	defer cancel()
	reply, err := i.ask(limited, r)
	var later notYet
	switch {
	case err == nil:
		return reply, nil
	case ctx.Err() != nil:
		return issuer.Reply{}, ctx.Err()
	case errors.As(err, &later), limited.Err() != nil && errors.Is(err, context.DeadlineExceeded):
		return issuer.Reply{}, issuer.Refusal{Kind: issuer.KindAway, NotBefore: later.at, Reason: fmt.Sprintf(
			"the CA did not finish within %s; what is open at the CA is continued next time", i.o.Patience)}
	}
	return issuer.Reply{}, err
}

func (i *Issuer) ask(ctx context.Context, r issuer.Request) (issuer.Reply, error) {
	want, err := wanted(r)
	if err != nil {
		return issuer.Reply{}, err
	}
	// What a crash has left is adopted where the open order needs it: the CA may be looking at this moment.
	defer i.Tidy(context.WithoutCancel(ctx))
	s, err := i.open(ctx)
	if err != nil {
		return issuer.Reply{}, err
	}
	defer s.close()
	if err := s.login(ctx); err != nil {
		return issuer.Reply{}, err
	}
	return s.obtain(ctx, want)
}

// Taken says that the caller has the answer to a request on its disk: the next request for the same is another order,
// unless it says that this answer is lost.
func (i *Issuer) Taken(r issuer.Request) error {
	want, err := wanted(r)
	if err != nil {
		return err
	}
	return i.taken(want)
}
