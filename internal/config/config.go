// Package config turns mailcertd.yaml into a validated Config. Every setting has a default, and the file may be
// missing. It alone applies --root.
package config

import (
	"path/filepath"
	"time"

	"mailcertd/internal/pki"
)

// Config is the effective configuration. All its paths include Root.
type Config struct {
	Path    string // the path of the file, as the user gave it
	Missing bool   // the file does not exist, so all values are defaults
	Root    string // --root, absolute; "" is /

	Host struct {
		Name     string // "": rc.conf's sendmail_cert_cn, else the system's host name
		AltNames []string
	}
	Key struct {
		Type        pki.KeyType
		TypeSet     bool          // the file names a type: an existing key of another type is replaced at --rekey
		Second      pki.KeyType   // the type of the second server pair's key, "" for no second pair
		RotateAfter time.Duration // 0: never
	}
	Validity struct {
		Days        int
		RenewBefore time.Duration // 0: a third of the lifetime
		WarnDays    []int         // descending
	}
	Issuer Issuer
	Client Client
	DNS    DNS
	DANE   DANE
	CA     struct {
		Dir              string
		Key              pki.KeyType
		Days             int
		PassphraseFile   string
		Subject          Subject
		PermittedDomains []string
		Account          string // the unprivileged user that members log in as, for requests over ssh
		Inbox            string // where that user puts them
	}
	Certs struct{ Dir string }
	Trust []string // bundles or directories, or the word system
	DH    string   // a group of RFC 7919, or keep
	CRL   struct {
		Days    int
		Install bool
	}
	Sendmail struct {
		CF           string
		PidFile      string // "": from sendmail.cf (PidFile)
		Program      string // not moved by Root
		Probe        string // auto, none, or an address with or without port
		StartCommand []string
	}
	Notify [][]string
	State  struct {
		Dir  string
		Keep int // backups of our own
	}
	Log struct{ Level, Target, Facility string }
}

// IssuerKind says who signs the certificates of this host.
type IssuerKind string

// The issuers.
const (
	IssuerLocal IssuerKind = "local" // the CA on this host
	IssuerNone  IssuerKind = "none"  // no issuer: certificates are installed by hand
	IssuerSSH   IssuerKind = "ssh"   // the CA on another host
	IssuerACME  IssuerKind = "acme"  // an ACME CA, such as Let's Encrypt
)

// Issuer says who signs the certificates of this host, and how to reach it.
type Issuer struct {
	Kind IssuerKind
	SSH  struct{ Target, Identity, KnownHosts string }
	ACME ACME
}

// ClientKind says which certificate sendmail shows as a client.
type ClientKind string

// The kinds of client pair.
const (
	ClientSame ClientKind = "same" // the host's server pair
	ClientNone ClientKind = "none" // no certificate is shown
	ClientOwn  ClientKind = "own"  // a pair of its own, from Client.Issuer
)

// Client is the pair that sendmail shows as a client.
type Client struct {
	Kind   ClientKind
	Issuer Issuer // for ClientOwn: local or ssh; zero for the other kinds
}

// Subject holds what CA and host certificates have in their subjects beside the CN.
type Subject struct {
	Country, State, Locality, Organization, OrganizationalUnit, CommonName string
}

// The limits of numbers, as the manual states them.
const (
	maxLeafDays = 3650
	minCADays   = 30
	maxCADays   = 36500
	maxCRLDays  = 365
	maxKeep     = 1000
	maxRotate   = 3650
)

// Default is the configuration without a file; its paths are below root.
func Default(root string) Config {
	var c Config
	c.Root = root
	c.Key.Type = pki.RSA2048
	c.Validity.Days = 365
	c.Validity.WarnDays = []int{30, 14, 7, 3, 1}
	c.Issuer.Kind = IssuerLocal
	c.Client.Kind = ClientSame
	c.DANE = DANE{Publish: PublishNone, Ports: []int{25}, TTL: time.Hour}
	c.CA.Dir = c.below("/etc/mail/CA")
	c.CA.Key = pki.ECDSAP256
	c.CA.Days = 3650
	c.CA.Account = "mailcertd"
	c.CA.Inbox = c.below("/var/spool/mailcertd")
	c.Certs.Dir = c.below("/etc/mail/certs")
	c.DH = "ffdhe3072"
	c.CRL.Days = 30
	c.Sendmail.CF = c.below("/etc/mail/sendmail.cf")
	c.Sendmail.Program = "/usr/sbin/sendmail"
	c.Sendmail.Probe = "auto"
	c.Sendmail.StartCommand = []string{"service", "sendmail", "start"}
	c.State.Dir = c.below("/var/db/mailcertd")
	c.State.Keep = 10
	c.Log.Level, c.Log.Target, c.Log.Facility = "info", "auto", "mail"
	return c
}

// below adds Root to an absolute path.
func (c *Config) below(path string) string {
	if c.Root == "" {
		return filepath.Clean(path)
	}
	return filepath.Join(c.Root, path)
}

// shown removes Root from a path.
func (c *Config) shown(path string) string {
	if c.Root == "" || path == "" {
		return path
	}
	if rel, err := filepath.Rel(c.Root, path); err == nil && filepath.IsLocal(rel) {
		return "/" + rel
	}
	return path
}
