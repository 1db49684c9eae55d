package mta

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// View is a file as sendmail examines it: stat(2) through links, and every directory above it.
type View struct {
	Path    string // as sendmail.cf names it
	Node    durable.Node
	Parents []durable.Node // nearest first
}

// Files is a set of files for Judge.
type Files struct {
	Pair         // the first server pair
	Second *Pair // the second server pair; nil: the cf names none
	Client *Pair // the pair that sendmail shows as a client; nil: it is the first server pair, or there is none
	CACert CertView
	DH     struct {
		View
		Bits int
		Err  error // why the parameters cannot be read
	}
	Dir View // CACertPath
	// Root says that sendmail runs as root. Only then it checks the directories above a file.
	Root     bool
	OwnersOK []uint32 // the users whom sendmail accepts as owners: root, RunAsUser, TrustedUser
	Libssl   pki.Libssl
	// CAElsewhere says that CACert is not a file of the certs directory, because sendmail.cf names another.
	CAElsewhere bool
	// Store are the CA certificates among which OpenSSL looks for the chain above the leaf.
	Store []*x509.Certificate
	Now   time.Time
}

// MendKind says which system call removes the cause of a complaint.
type MendKind int

// The repairs.
const (
	MendNone  MendKind = iota // none: the content must change, or nothing helps
	MendMode                  // chmod
	MendOwner                 // chown to root
)

// Mend is one chmod(2) or chown(2).
type Mend struct {
	Kind MendKind
	Path string // without any link in it
	Mode fs.FileMode
}

// Complaint is one line that sendmail would log at start.
type Complaint struct {
	Path  string
	Text  string // in sendmail's own words where they are known
	Fatal bool   // STARTTLS is not offered, or no handshake succeeds
	// Beyond says that the cause is not a file of the set, so that another certificate would not help: it is in
	// sendmail.cf, in a CACertFile elsewhere, or in a CA above the leaf.
	Beyond bool
	Of     Role // the pair of the file; FirstServer also for files that belong to no pair
	Mend   Mend
}

// Verdict is how sendmail would judge a set.
type Verdict struct {
	Offered    bool // sendmail offers STARTTLS and handshakes succeed: no complaint is fatal
	Sound      bool // no fatal complaint is about the first server pair or the set around it; see Beyond
	Complaints []Complaint
}

// Judge applies the rules of sendmail (safefile(), tls.c) to a set of files, with the DontBlameSendmail of this cf. It
// assumes that the cf names these files. dh.param counts only where the cf names one, or where there is no cf.
func Judge(cf CF, f Files) Verdict {
	j := judge{cf: cf, f: f}
	first := FirstServer.needs()
	j.file(f.Cert.View, false, first.safe)
	j.file(f.Key.View, true, first.safe)
	set := len(j.out)
	j.file(f.CACert.View, false, true)
	if f.CACert.Node.IsRegular && f.CACert.File.Err != nil && !unjudged(f.CACert.File.Err) {
		j.complain(f.CACert.Path, "load verify locs failed: "+f.CACert.File.Err.Error(), true)
	}
	for i := set; f.CAElsewhere && i < len(j.out); i++ {
		j.out[i].Beyond = true
	}
	j.load(f.Pair, first)
	j.handshake()
	j.named()
	if cf.DH != "" || cf.Missing {
		j.file(f.DH.View, false, false)
		if f.DH.Node.IsRegular && f.DH.Err != nil {
			j.complain(f.DH.Path, "cannot read DH parameters: "+f.DH.Err.Error(), false)
		}
	}
	j.others()
	if n := cf.CRLNode; n.Path != "" && (!n.Exists || n.Size == 0) {
		j.complain(cf.CRL, "PEM_read_bio_X509_CRL failed: it is missing or empty", false)
	}
	v := Verdict{Offered: true, Sound: true, Complaints: j.out}
	for _, c := range j.out {
		v.Offered = v.Offered && !c.Fatal
		v.Sound = v.Sound && (!c.Fatal || c.Beyond || c.Of != FirstServer)
	}
	return v
}

// named complains about missing or wrong names in the cf. Without these options sendmail offers no STARTTLS; the
// directory of CACertPath need not exist. sendmail ignores a name that does not begin with a slash, and takes a blank
// or an additional comma for a part of the name.
func (j *judge) named() {
	if j.cf.Missing || j.cf.Node.Err != nil || len(j.cf.ServerCert) == 0 {
		return
	}
	type option struct{ name, value string }
	all := []option{{"CACertFile", j.cf.CACert}, {"CACertPath", j.cf.CACertPath}}
	for _, v := range j.cf.ServerCert {
		all = append(all, option{"ServerCertFile", v})
	}
	for _, v := range j.cf.ServerKey {
		all = append(all, option{"ServerKeyFile", v})
	}
	for _, o := range all {
		switch {
		case o.value == "":
			j.complain(j.cf.Path, o.name+" missing", true)
		case !strings.HasPrefix(o.value, "/"):
			j.complain(j.cf.Path, fmt.Sprintf("%s missing: %q does not begin with /", o.name, o.value), true)
		case strings.HasPrefix(o.name, "Server") &&
			(strings.Contains(o.value, ",") || strings.TrimSpace(o.value) != o.value):
			j.complain(o.value, "unsafe: No such file or directory", true)
		default:
			continue
		}
		j.out[len(j.out)-1].Beyond = true
	}
}

// handshake complains if no handshake can succeed: OpenSSL refuses the leaf, or an issuer that it sends with it, as too
// weak for the security level of handshakes.
func (j *judge) handshake() {
	cs := j.f.Cert.File.Certs
	if j.f.Cert.File.Err != nil || len(cs) == 0 || cs[0].PublicKey == nil || j.f.Libssl.Refuses(cs[0]) != "" {
		return
	}
	at, because := j.cf.Handshakes(j.f.Libssl), ""
	if n, set := j.cf.SecurityLevel(); set {
		because = fmt.Sprintf(", at security level %d, which CipherList in %s sets", n, j.cf.Path)
	}
	for n, c := range buildChain(cs[:1], j.f.Store, j.f.Now).certs {
		path, why := j.f.Cert.Path, at.Refuses(c)
		if n > 0 {
			path, why = j.f.CACert.Path, at.RefusesCA(c)
		}
		if why != "" {
			j.complain(path, fmt.Sprintf("no TLS handshake succeeds: %s (%s, signed with %s)%s", why,
				pki.Readable(c.RawSubject), c.SignatureAlgorithm, because), true)
			j.out[len(j.out)-1].Beyond = true
			return
		}
	}
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
			return // the same directory, which is above several files
		}
	}
	j.out = append(j.out, c)
}

// file applies safefile() with the flags of tls.c. fatal says that sendmail offers no STARTTLS if the file is refused.
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

// owner complains about a file whose owner is not root or a user that sendmail trusts, or whose owner may not read it.
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

// directory complains about a directory that others may write. A sticky bit makes it safe only where the cf says so.
func (j *judge) directory(d durable.Node, fatal bool) {
	if !d.Exists {
		return
	}
	path := d.Resolved
	if path == "" {
		path = d.Path
	}
	mode := d.Mode
	if mode&fs.ModeSticky != 0 && j.cf.blames("truststickybit") {
		return
	}
	if mode&0o002 != 0 {
		j.complain(path, "unsafe: World writable directory", fatal, Mend{MendMode, path, mode &^ 0o022})
	} else if mode&0o020 != 0 && !j.cf.blames("groupwritabledirpathsafe") {
		j.complain(path, "unsafe: Group writable directory", fatal, Mend{MendMode, path, mode &^ 0o020})
	}
}
