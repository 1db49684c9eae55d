// Package acme asks an ACME CA for certificates (RFC 8555). mholt/acmez speaks the protocol. This package decides what
// must survive a crash, how long to wait, and what a refusal means.
//
// A certificate costs one order, whatever happens: each step is noted in the Store before and after it is done, and the
// next question continues from there.
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

// The ways to prove that a name belongs to this host.
const (
	HTTP       = "http"        // http-01, RFC 8555 section 8.3
	DNS01      = "dns"         // dns-01, RFC 8555 section 8.4: a record for the time of the order
	DNSPersist = "dns-persist" // dns-persist-01, draft-ietf-acme-dns-persist: one record that stays
	Command    = "command"     // dns-01 with a program of the owner
)

// challenges returns the values that Options.Challenge may have.
func challenges() []string { return []string{HTTP, DNS01, DNSPersist, Command} }

// DefaultPatience is the longest time for one question, with the validation by the CA.
const DefaultPatience = 10 * time.Minute

// Options are what an Issuer needs. Directory, Store and Now are required, and so are the fields for the Challenge.
type Options struct {
	Directory string   // letsencrypt, letsencrypt-staging, or an https URL
	AgreeTOS  bool     // the owner agrees to the CA's terms of service
	Contact   []string // e-mail addresses
	Profile   string   // "" means tlsserver at Let's Encrypt if it is offered, else the choice of the CA
	EAB       EAB
	CAs       []byte // PEM: the CAs that may sign the directory's https certificate; nil means the system's roots
	Challenge string
	Listener  Listener
	// For Command: a program and its arguments. Three arguments are appended: add or remove, NAME and VALUE.
	Command []string
	DNS     DNS    // for DNS01; with Command and not nil, it waits until the record can be seen
	Lookup  Lookup // for DNSPersist
	// PreferredChain is the common name of a root. Of the chains that the CA offers, the one with that root is used. If
	// it is "" or not offered, the CA's first chain is used.
	PreferredChain string
	Store          Store
	Dir            string            // the directory of the Store, for messages; "" means none
	Log            func(text string) // gets what went wrong beside the order; nil means that it is dropped
	Progress       func(step string) // gets each step, for a person who waits; nil means that it is dropped
	Now            func() time.Time
	// Proxy returns the proxy for a request; nil means none.
	Proxy func(*http.Request) (*url.URL, error)
	// Patience is the longest time for one question; zero means DefaultPatience. The next question continues an order
	// that is still open then.
	Patience time.Duration
	Agent    string // the program's name and version, which the CA logs
}

// EAB is an external account binding (RFC 8555 section 7.3.4). HMAC is the decoded key.
type EAB struct {
	KID  string
	HMAC []byte
}

// Listener says how http-01 is answered.
type Listener struct {
	Listen string // the address and port, such as ":80"; the port is in use only while an order needs it
	// The directory that a web server of this host serves; "" means that nothing is written and Listen is used.
	Webroot string
}

// DNS changes TXT records, and asks the servers of their zone. Names are absolute, without a final dot.
type DNS interface {
	// Add adds a record to those with the same name. It is not an error if the record exists already.
	Add(ctx context.Context, name, value string) error
	// Remove removes a record. It is not an error if the record does not exist.
	Remove(ctx context.Context, name, value string) error
	// Wait waits until every server of the zone returns the record.
	Wait(ctx context.Context, name, value string) error
}

// Lookup asks the servers of the zone for TXT records. It is not an error if there are none.
type Lookup func(ctx context.Context, name string) ([]string, error)

// Issuer asks one directory. It has no lock: only one goroutine at a time may use it, and only one process at a time
// may use a Store.
type Issuer struct {
	o        Options
	url      string
	roots    *x509.CertPool
	answerIn time.Duration // the longest time for one answer of the directory
}

var _ issuer.Issuer = (*Issuer)(nil)

// directories maps the short names of directories to their URLs.
var directories = map[string]string{
	"letsencrypt":         "https://acme-v02.api.letsencrypt.org/directory",
	"letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}

// DirectoryURL returns the URL of a directory that is given by its short name or its URL. Only https is allowed (RFC
// 8555 section 6.1).
func DirectoryURL(name string) (string, error) {
	if u := directories[name]; u != "" {
		return u, nil
	}
	u, err := url.Parse(name)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return "", fmt.Errorf("directory %q: must be letsencrypt, letsencrypt-staging or an https URL", name)
	}
	return u.String(), nil
}

// New checks the options and returns all their errors. It sends nothing.
func New(o Options) (*Issuer, error) {
	i := &Issuer{o: o, answerIn: answerIn}
	var errs []error
	var err error
	if i.url, err = DirectoryURL(o.Directory); err != nil {
		errs = append(errs, err)
	}
	if !slices.Contains(challenges(), o.Challenge) {
		errs = append(errs, fmt.Errorf("challenge %q: must be %s", o.Challenge, strings.Join(challenges(), ", ")))
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
		errs = append(errs, errors.New(
			"external account binding: must have a key identifier and an HMAC key, or neither"))
	}
	if len(o.CAs) > 0 {
		i.roots = x509.NewCertPool()
		if !i.roots.AppendCertsFromPEM(o.CAs) {
			errs = append(errs, errors.New("issuer.acme.ca_file contains no certificate in PEM"))
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

// Ask obtains the certificate that a request asks for. It continues an open order for the same names and key, or places
// a new one. The Reply contains the leaf and, in CAs, the certificates of the chain from the leaf's issuer upwards, as
// the CA sent them. When Ask returns, it has ended everything that it started.
//
// Until Taken says that the answer is stored, Ask returns the same certificate again, unless that is the one which the
// request Replaces. After that it does so only for a request which says that the answer is Lost.
func (i *Issuer) Ask(ctx context.Context, r issuer.Request) (issuer.Reply, error) {
	limited, cancel := context.WithTimeout(ctx, i.o.Patience)
	defer cancel()
	reply, err := i.ask(limited, r)
	// What a crash has left is not removed before the order ends, because an open order may use it: the CA may be
	// reading it at this moment. Where the program ends, the next one removes it.
	if ctx.Err() == nil {
		if err := i.Tidy(ctx); err != nil {
			i.o.Log(err.Error())
		}
	}
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
	s, err := i.open(ctx)
	if err != nil {
		return issuer.Reply{}, err
	}
	defer s.close()
	if err := s.login(ctx); err != nil {
		return issuer.Reply{}, err
	}
	return ordering{s, want}.obtain(ctx)
}

// Taken notes that the caller has written the answer to a request to its disk. The next request for the same names and
// key is then a new order, unless it says that the answer was lost (Request.Lost).
func (i *Issuer) Taken(r issuer.Request) error {
	want, err := wanted(r)
	if err != nil {
		return err
	}
	return i.taken(want)
}
