package keeper

import (
	"crypto/x509"
	"fmt"
	"path/filepath"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/issuer"
	"mailcertd/internal/issuer/ssh"
	"mailcertd/internal/pki"
	"mailcertd/internal/plan"
)

// The files of candidates/ in the state directory: the last answers of the CA on the other host, and the CA
// certificates that are accepted from it. They contain no secrets.
const (
	candidatesDir = "candidates"
	replyName     = "reply.pem" // the reply for the host's own pair; see replyOf
	acceptedName  = "ca.pem"
)

// replyOf names the file with the last certificate that the CA host sent for a pair.
func replyOf(p certdir.Pair) string {
	if p == certdir.Host {
		return replyName
	}
	return "reply-" + p.Name + ".pem"
}

// candidateNames returns the names of all files that may be in candidates/.
func candidateNames() []string {
	out := []string{acceptedName}
	for _, p := range certdir.Pairs() {
		out = append(out, replyOf(p), orderOf(p))
	}
	return out
}

// candidates reads and writes the answers of the CA host in the state directory. Like the Keeper it belongs to the loop
// and has no lock.
type candidates struct {
	*base
	// reply, accepted and replies hold answers that could not be written to the disk; nil means that the disk has them.
	reply, accepted []byte
	replies         map[string][]byte // by the names of the pairs other than the host's own
}

func (c *candidates) path(name string) string {
	return filepath.Join(c.statePath(candidatesDir), name)
}

// turn lets one mailcertd after another ask the CA host. Without the directory nobody waits.
func (c *candidates) turn() turn {
	return turn{c.statePath(candidatesDir), ssh.DefaultPatience}
}

// observeAnswer reads the last answers of the CA on the other host, and the CA certificates that are accepted from it.
func (c *candidates) observeAnswer(obs *plan.Observed) {
	obs.Asking = len(obs.Staged) > 0 && c.turn().taken()
	read := func(name string, kept []byte) ([]byte, error) {
		if kept != nil {
			return kept, nil
		}
		n := durable.Read(c.path(name), issuer.MaxReply)
		return n.Data, n.Err
	}
	data, err := read(acceptedName, c.accepted)
	if err != nil {
		obs.AcceptedErr, obs.ReplyErr = err, err
		return
	}
	if len(data) > 0 {
		f := pki.ReadCertFile(data)
		if obs.Accepted = f.Certs; f.Err != nil {
			obs.ReplyErr = fmt.Errorf("%s: %w", c.path(acceptedName), f.Err)
		}
	}
	if data, err = read(replyName, c.reply); err != nil {
		obs.ReplyErr = err
	}
	if len(data) > 0 {
		r, err := issuer.ParseReply(data)
		if err != nil {
			obs.ReplyErr = fmt.Errorf("%s: %w", c.path(replyName), err)
			return
		}
		obs.Reply = r
	}
	c.observeOthers(obs)
}

// observeOthers reads the certificates that came for the other pairs. A file that cannot be read is an error of obs,
// and its certificate is asked for again.
func (c *candidates) observeOthers(obs *plan.Observed) {
	for _, p := range certdir.Pairs() {
		if p == certdir.Host {
			continue
		}
		data := c.replies[p.Name]
		if data == nil {
			n := durable.Read(c.path(replyOf(p)), issuer.MaxReply)
			if data = n.Data; n.Unread() {
				obs.ReplyErr = n.Err
			}
		}
		if len(data) == 0 {
			continue
		}
		r, err := issuer.ParseReply(data)
		if err != nil {
			obs.ReplyErr = fmt.Errorf("%s: %w", c.path(replyOf(p)), err)
			continue
		}
		if obs.OtherReplies == nil {
			obs.OtherReplies = map[string]issuer.Reply{}
		}
		obs.OtherReplies[p.Name] = r
	}
}

// prepare makes the directory.
func (c *candidates) prepare() error {
	if err := c.o.Disk.MkdirAll(c.cfg.State.Dir, 0o700); err != nil {
		return err
	}
	return c.o.Disk.Mkdir(c.statePath(candidatesDir), 0o700)
}

// write writes a file of candidates/.
func (c *candidates) write(name string, data []byte) error {
	if err := c.prepare(); err != nil {
		return err
	}
	return c.o.Disk.Replace(c.path(name), data, 0o600)
}

// keep writes a file of candidates/. If that fails, *memory keeps the data as long as this process lives.
func (c *candidates) keep(name string, data []byte, memory *[]byte) {
	err := c.write(name, data)
	if *memory = nil; err != nil {
		c.log(Warn, "an answer of the CA could not be written, and is lost when this process ends", "reason",
			string(plan.StateUnwritable), "error", err.Error())
		*memory = data
	}
}

// accept keeps the CA certificates of the other host that are accepted from now on. Without the disk it keeps them in
// memory: the plan accepts them again after a restart.
func (c *candidates) accept(certs []*x509.Certificate) {
	c.keep(acceptedName, encoded(certs), &c.accepted)
}

// acceptBrought stores the CA certificates that a person accepts. It is an error if they cannot be stored, because they
// would be forgotten when this process ends, and nobody would bring them again.
func (c *candidates) acceptBrought(certs []*x509.Certificate) error {
	if err := c.write(acceptedName, encoded(certs)); err != nil {
		return fmt.Errorf("nothing was changed, because the accepted CA certificates cannot be stored: %w; correct "+
			"that, and install the file again", err)
	}
	c.accepted = nil
	return nil
}

func encoded(certs []*x509.Certificate) (out []byte) {
	for _, one := range certs {
		out = append(out, pki.EncodeCertificate(one.Raw)...)
	}
	return out
}
