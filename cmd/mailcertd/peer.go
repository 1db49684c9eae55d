package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
	"mailcertd/internal/page"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
	"mailcertd/internal/report"
)

// peerFor is the longest time for the whole dialogue with another host.
const peerFor = mta.Patience

// peer carries out `check --peer HOST[:PORT]`: it reports what sendmail would log about a connection to that host with
// this host's certificate, key and trusted CAs.
func (a *app) peer(ctx context.Context, target string) error {
	host, port, err := hostPort(target)
	if err != nil {
		return usageError{fmt.Errorf("--peer %q: %w", target, err)}
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	r := a.keeper(cfg, quiet(a.logLevel, a.err)).Check(ctx, plan.Wish{})
	certs, byCF := clientFiles(r.Observed, cfg.Root)
	served := serverLeaves(r.Observed, cfg.Root)
	trusted, err := certs.Trusted()
	if err != nil {
		return fmt.Errorf("the CAs that this host trusts cannot be read: %w", err)
	}
	o := mta.PeerOptions{Host: host, Port: port, HELO: cmp.Or(r.Plan.Facts.Name, "localhost"), Trusted: trusted,
		Served: served, Now: wallClock()}
	if cs := certs.Cert.File.Certs; len(cs) > 0 {
		o.Leaf = cs[0]
	}
	var trouble string
	if key := certs.Key; o.Leaf != nil {
		// A key that does not belong to the certificate is not used, as in SSL_CTX_check_private_key(3).
		n := durable.Read(key.Node.Path, certdir.MaxFile)
		signer, err := pki.ParseKey(n.Data)
		switch {
		case n.Err != nil:
			trouble = n.Err.Error()
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
	shown := a.progress("asking "+net.JoinHostPort(host, port)+
		"; a mail host may take minutes to send its greeting", peerFor)
	found := mta.Peer(pctx, o)
	shown()
	if found.OwnTrouble == "" {
		found.OwnTrouble = trouble
	}
	rep := report.NewPeer(found, o)
	rep.TrustUsed, rep.ByCF = r.Plan.Facts.NamesOurs, byCF
	if a.json {
		if err := a.printJSON(rep); err != nil {
			return err
		}
	} else {
		p := a.newPage(o.Now)
		page.Peer(rep, p)
		if err := p.Print(a.out); err != nil {
			return err
		}
	}
	if found.Verify != mta.VerifyOK {
		return errTodo
	}
	return nil
}

// namingCF returns the sendmail.cf whose files count on this host, see clientFiles.
func namingCF(o plan.Observed, root string) (cf mta.CF, is bool) {
	cf = o.UsedCF()
	return cf, !cf.Missing && cf.Node.Err == nil && (root == "" || plan.NamesOurs(cf, o.Certs))
}

// serverLeaves returns the leaves that sendmail shows to a host that sends mail here. A file that cannot be read is
// left out: `check` reports it.
func serverLeaves(o plan.Observed, root string) (leaves []*x509.Certificate) {
	files := []pki.CertFile{o.Certs.Cert.File}
	if cf, is := namingCF(o, root); is {
		files = nil
		for _, name := range cf.ServerCert {
			files = append(files, certdir.ReadCert(name).File)
		}
	}
	for _, f := range files {
		if len(f.Certs) > 0 {
			leaves = append(leaves, f.Certs[0])
		}
	}
	return leaves
}

// clientFiles returns the files that sendmail reads as a client: those that sendmail.cf names, and byCF is true then.
// Without a sendmail.cf they are the files of the certs directory. This is also the case with --root, where the paths
// in sendmail.cf belong to another system, unless it names these files.
func clientFiles(o plan.Observed, root string) (d certdir.Dir, byCF bool) {
	cf, byCF := namingCF(o, root)
	if !byCF {
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

// hostPort parses HOST, HOST:PORT, an IPv6 address, or [ADDRESS]:PORT. The port is a number from 1 to 65535; without
// one it is 25.
func hostPort(s string) (host, port string, err error) {
	host, port = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), "25"
	if net.ParseIP(host) == nil && strings.Contains(s, ":") {
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", "", errors.New("must be HOST or HOST:PORT, with an IPv6 address as [ADDRESS]:PORT")
		}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", "", fmt.Errorf("port %q: must be a number from 1 to 65535", port)
	}
	if host = strings.TrimSuffix(host, "."); host == "" || strings.ContainsAny(host, " \t\r\n/@[]") {
		return "", "", errors.New("must be the name or the address of a host")
	}
	return host, port, nil
}
