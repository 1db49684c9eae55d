package given

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/dh"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// NoCAFile deletes cacert.pem.
func NoCAFile() Fact {
	return later(func(h *host) { h.gone(&h.Seen.Certs.CA.Node, &h.Seen.Certs.CA.File.Err) })
}

// BadCAFile is a cacert.pem that OpenSSL cannot load.
func BadCAFile(err error) Fact {
	return later(func(h *host) {
		e := &h.Seen.Certs.CA
		e.File, e.Digest = pki.CertFile{Err: err}, digest(err.Error())
		for i := range h.Seen.Certs.Links {
			h.Seen.Certs.Links[i].Loads, h.Seen.Certs.Links[i].Right = false, false
		}
	})
}

// CAFilePassed is a cacert.pem with a part that Go cannot read.
func CAFilePassed() Fact {
	return Seeing(func(o *plan.Observed) {
		o.Certs.CA.File.Passed, o.Certs.CA.File.Err = 1, pki.ErrUnsupported
		o.Certs.CA.Digest = digest("passed")
	})
}

// CAFile sets the CAs in cacert.pem, by their labels.
func CAFile(labels ...string) Fact {
	return func(h *host) {
		h.cacert = labels
		for _, l := range labels {
			if h.cas[l] == nil {
				h.cas[l] = rootOf(l, subjectOf("Others", l), h.Now.Add(-300*Day), h.Now.Add(3000*Day))
			}
		}
		h.since = append(h.since, func(h *host) { h.Seen.Certs.CA.Digest = digest(strings.Join(labels, " ")) })
	}
}

// CAFileIsLink is a cacert.pem that a person has replaced by a link to a bundle.
func CAFileIsLink() Fact {
	return Seeing(func(o *plan.Observed) {
		o.Certs.CA.Node.Kind, o.Certs.CA.Node.Target = durable.Link, "/etc/ssl/bundle.pem"
		o.Certs.CA.Digest = digest("a bundle")
	})
}

// NoLinks deletes the hash links.
func NoLinks() Fact { return Seeing(func(o *plan.Observed) { o.Certs.Links = nil }) }

// StaleLink is a link to cacert.pem with the hash of another subject.
func StaleLink() Fact {
	return later(func(h *host) {
		l := h.hashLink("0a1b2c3d.0", 0x0a1b2c3d, certdir.CAName, nil)
		l.Right = false
		h.Seen.Certs.Links = append(h.Seen.Certs.Links, l)
	})
}

// LinkIsFIFO is a FIFO with the name of a hash link.
func LinkIsFIFO() Fact {
	return Seeing(func(o *plan.Observed) {
		n := durable.Node{Path: Certs + "/0a1b2c3d.0", Kind: durable.Other, Exists: true, Waits: true}
		o.Certs.Links = append(o.Certs.Links, certdir.Link{Name: "0a1b2c3d.0", Hash: 0x0a1b2c3d, Node: n})
	})
}

// LinkIsDirectory is a directory with the name of a hash link.
func LinkIsDirectory() Fact {
	return Seeing(func(o *plan.Observed) {
		o.Certs.Links = append(o.Certs.Links, certdir.Link{Name: "0a1b2c3d.0", Hash: 0x0a1b2c3d,
			Node: directory(Certs+"/0a1b2c3d.0", 0o755)})
	})
}

// NoDH deletes dh.param.
func NoDH() Fact { return later(func(h *host) { h.gone(&h.Seen.Certs.DH.Node, new(error)) }) }

// DH sets the content of dh.param: the name of an RFC 7919 group, or any text.
func DH(text string) Fact {
	return later(func(h *host) {
		d := &h.Seen.Certs.DH
		d.Node.Data = []byte(text)
		if g, err := dh.Group(text); err == nil {
			d.Node.Data = g.PEM()
		}
		d.Node.Size, d.Digest = int64(len(d.Node.Data)), digest(string(d.Node.Data))
	})
}

// Group configures `dh`.
func Group(name string) Fact { return Configured(func(c *config.Config) { c.DH = name }) }

// DHIsLink makes dh.param a link to a file elsewhere.
func DHIsLink() Fact {
	return Seeing(func(o *plan.Observed) { o.Certs.DH.Node.Kind, o.Certs.DH.Node.Target = durable.Link, "/etc/dh.pem" })
}

// AskedGroup is a wish for these Diffie-Hellman parameters.
func AskedGroup(name string) Fact { return Wish(func(w *plan.Wish) { w.Group, w.Once = name, true }) }

// Trusts configures a bundle in `trust:` with the CAs of these labels; the file changed so long ago.
func Trusts(age time.Duration, labels ...string) Fact {
	return later(func(h *host) {
		s := plan.TrustSource{Name: "/etc/ssl/partners.pem", Bundle: certdir.Bundle{Path: "/etc/ssl/partners.pem",
			Changed: h.Now.Add(-age)}}
		for _, l := range labels {
			s.Certs = append(s.Certs, partner(l))
		}
		h.Seen.Trust = append(h.Seen.Trust, s)
	})
}

func partner(label string) *x509.Certificate {
	return rootOf(label, pkix.Name{Organization: []string{"Partner"}, CommonName: label}, Now.Add(-500*Day),
		Now.Add(2000*Day))
}

// TrustSource changes that bundle.
func TrustSource(change func(*plan.TrustSource)) Fact {
	return Seeing(func(o *plan.Observed) { change(&o.Trust[0]) })
}

// Linked puts the CAs of these labels into trust/ and makes their links, as mailcertd does.
func Linked(labels ...string) Fact {
	return later(func(h *host) {
		d := &h.Seen.Certs
		d.TrustNode = directory(Certs+"/trust", 0o755)
		for _, l := range labels {
			c := partner(l)
			e := h.certs(plan.TrustFile(c), pki.ReadCertFile, c)
			d.Trust = append(d.Trust, e)
		}
		h.link()
	})
}
