package mta

import (
	"errors"
	"io/fs"
	"slices"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// View is a file as sendmail would look at it: stat(2), so links are followed,
// and every directory above it.
type View struct {
	Path    string // as it is named
	Node    durable.Node
	Parents []durable.Node // nearest first
}

// Files is a set that sendmail is to be asked about.
type Files struct {
	Cert, CACert struct {
		View
		File pki.CertFile
	}
	Key struct {
		View
		Key pki.KeyFile
	}
	DH struct {
		View
		Bits int
		Err  error // why they cannot be read
	}
	Dir View // CACertPath
	// Root says that sendmail runs as root: it checks directories then.
	Root     bool
	OwnersOK []uint32 // root, RunAsUser, TrustedUser
	Libssl   pki.Libssl
}

// MendKind is what would put a complaint right.
type MendKind int

// The mends.
const (
	MendNone  MendKind = iota // another content is needed, or none helps
	MendMode                  // chmod
	MendOwner                 // chown to root
)

// Mend is one chmod or chown.
type Mend struct {
	Kind MendKind
	Path string // without links
	Mode fs.FileMode
}

// Complaint is one line that sendmail would log at start.
type Complaint struct {
	Path  string
	Text  string // in sendmail's own words, as far as they are known
	Fatal bool   // STARTTLS is not offered
	Mend  Mend
}

// Verdict is what sendmail makes of a set.
type Verdict struct {
	Offered    bool // STARTTLS is offered
	Complaints []Complaint
}

// Judge applies sendmail's rules (safefile(), tls.c) to a set, as the cf's own
// DontBlameSendmail has them, taking for granted that the cf names these
// files. dh.param counts only where the cf names one, or where there is no cf.
func Judge(cf CF, f Files) Verdict {
	j := judge{cf: cf, f: f}
	j.file(f.Cert.View, false, true)
	j.file(f.Key.View, true, true)
	j.file(f.CACert.View, false, true)
	if f.Cert.Node.IsRegular && f.Cert.File.Err != nil && !unjudged(f.Cert.File.Err) {
		j.complain(f.Cert.Path, "SSL_CTX_use_certificate_file failed: "+f.Cert.File.Err.Error(), true)
	}
	if f.Key.Node.IsRegular && f.Key.Key.Err != nil && !unjudged(f.Key.Key.Err) {
		j.complain(f.Key.Path, "SSL_CTX_use_PrivateKey_file failed: "+f.Key.Key.Err.Error(), true)
	}
	if f.CACert.Node.IsRegular && f.CACert.File.Err != nil && !unjudged(f.CACert.File.Err) {
		j.complain(f.CACert.Path, "load verify locs failed: "+f.CACert.File.Err.Error(), true)
	}
	j.pair()
	if cf.DH != "" || cf.Missing {
		j.file(f.DH.View, false, false)
		if f.DH.Node.IsRegular && f.DH.Err != nil {
			j.complain(f.DH.Path, "cannot read DH parameters: "+f.DH.Err.Error(), false)
		}
	}
	for _, n := range cf.More {
		crl := n.Path == cf.CRL
		switch {
		case !n.Exists && !crl:
			j.complain(n.Path, "unsafe: No such file or directory: the second pair is incomplete, init=0", true)
		case crl && (!n.Exists || n.Size == 0):
			j.complain(n.Path, "PEM_read_bio_X509_CRL failed: it is missing or empty", false)
		}
	}
	v := Verdict{Offered: true, Complaints: j.out}
	for _, c := range j.out {
		v.Offered = v.Offered && !c.Fatal
	}
	return v
}

func unjudged(err error) bool { return errors.Is(err, pki.ErrUnsupported) }

type judge struct {
	cf  CF
	f   Files
	out []Complaint
}

func (j *judge) complain(path, text string, fatal bool, mend ...Mend) {
	c := Complaint{Path: path, Text: text, Fatal: fatal}
	if len(mend) > 0 {
		c.Mend = mend[0]
	}
	for _, have := range j.out {
		if have.Mend.Kind != MendNone && have.Mend == c.Mend && have.Text == c.Text {
			return // one directory, complained of for each file in it
		}
	}
	j.out = append(j.out, c)
}

// file is safefile() with the flags of tls.c. fatal: STARTTLS depends on it.
func (j *judge) file(v View, key, fatal bool) {
	n := v.Node
	switch {
	case n.Err != nil:
		j.complain(v.Path, "unsafe: "+n.Err.Error(), fatal)
		return
	case !n.Exists:
		j.complain(v.Path, "unsafe: No such file or directory", fatal)
		return
	case !n.IsRegular:
		j.complain(v.Path, "unsafe: Regular file required", fatal) // SFF_REGONLY
		return
	}
	if j.f.Root {
		for _, d := range v.Parents {
			j.directory(d, fatal)
		}
	}
	bad := fs.FileMode(0)
	text := ""
	mode := n.Mode.Perm()
	say := func(bit fs.FileMode, what string) {
		if mode&bit != 0 {
			bad |= bit
			text = what
		}
	}
	if key {
		if !j.cf.blames("groupreadablekeyfile") {
			say(0o040, "Group readable file")
		}
		say(0o004, "World readable file")
	}
	say(0o020, "Group writable file")
	say(0o002, "World writable file")
	if bad != 0 {
		j.complain(v.Path, "unsafe: "+text, fatal, Mend{MendMode, n.Resolved, mode &^ bad})
	}
	j.owner(v, fatal)
}

// owner: the files must belong to root or to a user whom sendmail trusts, and
// their owner must be able to read them.
func (j *judge) owner(v View, fatal bool) {
	n := v.Node
	if !slices.Contains(j.f.OwnersOK, n.UID) && !j.cf.blames("certowner") { // 8.18 and later
		j.complain(v.Path, "unsafe: Permission denied (owner)", fatal, Mend{Kind: MendOwner, Path: n.Resolved})
		return
	}
	if n.Mode.Perm()&0o400 == 0 {
		j.complain(v.Path, "unsafe: Permission denied (mode)", fatal, Mend{MendMode, n.Resolved, n.Mode.Perm() | 0o400})
	}
}

// directory: a sticky bit does not make a writable directory safe.
func (j *judge) directory(d durable.Node, fatal bool) {
	if !d.Exists {
		return
	}
	path := d.Resolved
	if path == "" {
		path = d.Path
	}
	mode := d.Mode
	if mode&0o002 != 0 {
		j.complain(path, "unsafe: World writable directory", fatal, Mend{MendMode, path, mode &^ 0o022})
	} else if mode&0o020 != 0 && !j.cf.blames("groupwritabledirpathsafe") {
		j.complain(path, "unsafe: Group writable directory", fatal, Mend{MendMode, path, mode &^ 0o020})
	}
}

// pair: certificate and key must belong together, and be strong enough for
// OpenSSL's security level. A key of a kind that is unknown here is not judged.
func (j *judge) pair() {
	cs, key := j.f.Cert.File.Certs, j.f.Key.Key
	if j.f.Cert.File.Err != nil || len(cs) == 0 {
		return
	}
	if why := j.f.Libssl.Refuses(cs[0]); why != "" {
		j.complain(j.f.Cert.Path, "SSL_CTX_use_certificate_file failed: "+why, true)
		return
	}
	if cs[0].PublicKey == nil || key.Err != nil || key.Public == nil {
		return
	}
	if !pki.SamePublicKey(cs[0].PublicKey, key.Public) {
		j.complain(j.f.Cert.Path, "SSL_CTX_check_private_key failed: it is not for the key in "+j.f.Key.Path, true)
	}
}
