package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// peerFor bounds the whole dialogue with another host.
const peerFor = mta.Patience

// unseen is what a client cannot know.
const unseen = "what the peer makes of our certificate cannot be seen from here; it stands in its own log (STARTTLS=server)"

// peer is `check --peer HOST[:PORT]`: what sendmail would log of a connection
// to that host, with the certificate, key and trust that lie here.
func (a *app) peer(ctx context.Context, target string) error {
	host, port, err := hostPort(target)
	if err != nil {
		return usageError{fmt.Errorf("--peer %q: %w", target, err)}
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	r := a.keeper(cfg, a.quiet()).Check(ctx, plan.Wish{})
	certs, byCF := clientFiles(r.Observed, cfg.Root)
	o := mta.PeerOptions{Host: host, Port: port, HELO: or(r.Plan.Facts.Name, "localhost"), Trusted: certs.Trusted(), Now: time.Now()}
	if cs := certs.Cert.File.Certs; len(cs) > 0 {
		o.Leaf = cs[0]
	}
	var trouble string
	if key := certs.Key; o.Leaf != nil {
		// As SSL_CTX_check_private_key(3) has it: a key that does not fit is none.
		signer, err := pki.ParseKey(durable.Read(key.Node.Path, 1<<20).Data)
		switch {
		case !key.Node.Exists:
			trouble = key.Node.Path + ": no such file"
		case key.Key.Err != nil:
			trouble = fmt.Sprintf("%s: %v", key.Node.Path, key.Key.Err)
		case err != nil:
			trouble = fmt.Sprintf("%s: %v", key.Node.Path, err)
		case !pki.SamePublicKey(signer.Public(), o.Leaf.PublicKey):
			trouble = key.Node.Path + ": does not belong to the certificate"
		default:
			o.Key, o.LeafFile, o.KeyFile = signer, certs.Cert.Node.Path, key.Node.Path
		}
	}
	pctx, cancel := context.WithTimeout(ctx, peerFor)
	defer cancel()
	shown := a.progress("asking "+net.JoinHostPort(host, port)+"; a mail host may take minutes to greet", peerFor)
	found := mta.Peer(pctx, o)
	shown()
	if found.OwnTrouble == "" {
		found.OwnTrouble = trouble
	}
	rep := describePeer(found, o)
	rep.TrustUsed, rep.ByCF = r.Plan.Facts.NamesOurs, byCF
	if a.json {
		if err := a.printJSON(rep); err != nil {
			return err
		}
	} else {
		page := a.newPage(o.Now)
		peerPage(rep, page)
		if err := page.writeTo(a.out); err != nil {
			return err
		}
	}
	if found.Verify != mta.VerifyOK {
		return errTodo
	}
	return nil
}

// clientFiles are the files that sendmail's client reads: those that sendmail.cf
// names, byCF then. They are the ones kept here without a sendmail.cf, and below
// --root, where its paths are another system's unless they name these.
func clientFiles(o plan.Observed, root string) (d certdir.Dir, byCF bool) {
	cf := o.CF
	if o.RunningCF != nil {
		cf = *o.RunningCF
	}
	if cf.Missing || cf.Node.Err != nil || root != "" && !plan.NamesOurs(cf, o.Certs) {
		return o.Certs, false
	}
	first := func(names []string) string {
		if len(names) == 0 {
			return ""
		}
		return names[0]
	}
	return certdir.Elsewhere(cf.CACert, cf.CACertPath, first(cf.ClientCert), first(cf.ClientKey)), true
}

// hostPort reads HOST, HOST:PORT, an IPv6 address, or [ADDRESS]:PORT. The port
// is a number from 1 to 65535, 25 when none is named.
func hostPort(s string) (host, port string, err error) {
	host, port = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), "25"
	if net.ParseIP(host) == nil && strings.Contains(s, ":") {
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", "", errors.New("want HOST or HOST:PORT, with an IPv6 address as [ADDRESS]:PORT")
		}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", "", fmt.Errorf("port %q: want a number from 1 to 65535", port)
	}
	if host = strings.TrimSuffix(host, "."); host == "" || strings.ContainsAny(host, " \t\r\n/@[]") {
		return "", "", errors.New("want the name or the address of a host")
	}
	return host, port, nil
}

// peerReport is `check --peer --json`, version 1. Times are UTC, RFC 3339.
type peerReport struct {
	Version     int        `json:"version"`
	Peer        string     `json:"peer"`              // as it was asked for, with the port
	Address     string     `json:"address,omitempty"` // that answered
	STARTTLS    bool       `json:"starttls"`          // it was offered
	Verify      mta.Verify `json:"verify"`            // "" when the host did not answer as a mail host does
	Reason      string     `json:"reason,omitempty"`  // verifymsg= of a FAIL
	Error       string     `json:"error,omitempty"`
	TLS         string     `json:"tls,omitempty"` // as sendmail writes it: TLSv1.3
	Cipher      string     `json:"cipher,omitempty"`
	Certificate *peerCert  `json:"certificate,omitempty"`
	Named       bool       `json:"named"` // the certificate names the host; sendmail does not ask for it
	NameError   string     `json:"name_error,omitempty"`
	Asked       bool       `json:"asked_for_ours"`
	Presented   bool       `json:"presented_ours"`
	ListsOurs   bool       `json:"lists_our_issuer"` // in the CAs that it said it accepts
	Refused     string     `json:"refused,omitempty"`
	Own         ownReport  `json:"own"`
	TrustUsed   bool       `json:"sendmail_names_these_files"` // sendmail.cf does
	ByCF        bool       `json:"-"`                          // judged by the files that sendmail.cf names
}

// peerCert is the peer's leaf.
type peerCert struct {
	Serial    string    `json:"serial"`
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Names     []string  `json:"names"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// ownReport is our own chain, as a client's, judged by what we trust.
type ownReport struct {
	Serial  string     `json:"serial,omitempty"`
	Verify  mta.Verify `json:"verify"` // "" for no certificate
	Reason  string     `json:"reason,omitempty"`
	Trouble string     `json:"trouble,omitempty"` // why it was not presented
}

func describePeer(r mta.PeerReport, o mta.PeerOptions) peerReport {
	rep := peerReport{Version: 1, Peer: r.Addr, Address: r.Remote, STARTTLS: r.Offered, Verify: r.Verify, Reason: r.Reason,
		Asked: r.Asked, Presented: r.Presented, ListsOurs: r.ListsOurs,
		Own: ownReport{Verify: r.Own, Reason: r.OwnReason, Trouble: r.OwnTrouble}}
	if r.Err != nil {
		rep.Error = r.Err.Error()
	}
	if r.Alert != nil {
		rep.Refused = r.Alert.Error()
	}
	if o.Leaf != nil {
		rep.Own.Serial = ca.FormatSerial(o.Leaf.SerialNumber)
	}
	if len(r.Chain) == 0 {
		return rep
	}
	rep.TLS, rep.Cipher = tlsName(r.Version), tls.CipherSuiteName(r.Cipher)
	if r.CipherName != "" {
		rep.Cipher = r.CipherName
	}
	rep.Certificate = describePeerCert(r.Chain[0])
	rep.Named = r.NameErr == nil
	if r.NameErr != nil {
		rep.NameError = r.NameErr.Error()
	}
	return rep
}

func describePeerCert(c *x509.Certificate) *peerCert {
	return &peerCert{Serial: ca.FormatSerial(c.SerialNumber), Subject: pki.OneLine(c.RawSubject), Issuer: pki.OneLine(c.RawIssuer),
		Names: nonNil(plan.CertNames(c)), NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC()}
}

// tlsName is SSL_get_version(3), which sendmail logs as version=.
func tlsName(v uint16) string {
	if v == tls.VersionTLS10 {
		return "TLSv1"
	}
	return strings.Replace(tls.VersionName(v), "TLS ", "TLSv", 1)
}
