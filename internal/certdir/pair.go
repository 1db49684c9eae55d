package certdir

// Pair is a private key and its certificate, by the names of their files.
type Pair struct {
	Name     string // for people, JSON and the state: host, host-ecdsa, client
	KeyFile  string
	CertFile string
}

// The pairs that the certs directory may hold.
var (
	// Host is what sendmail serves, and what it shows as a client where Client is not asked for.
	Host = Pair{Name: "host", KeyFile: KeyName, CertFile: CertName}
	// HostECDSA is a second pair of another key type, which sendmail serves beside Host (key.second).
	HostECDSA = Pair{Name: "host-ecdsa", KeyFile: "host-ecdsa.key", CertFile: "host-ecdsa.cert"}
	// Client is what sendmail shows as a client, where that is another certificate (client:).
	Client = Pair{Name: "client", KeyFile: "client.key", CertFile: "client.cert"}
)

// Pairs returns all pairs, in the order in which they are decided about and installed.
func Pairs() []Pair { return []Pair{Host, HostECDSA, Client} }

// Server says whether sendmail reads the pair when it starts and shows it as a server. The client pair is read by each
// process that delivers mail.
func (p Pair) Server() bool { return p != Client }

// PairEntry holds the two files of a pair.
type PairEntry struct {
	Key  KeyEntry
	Cert CertEntry
}

// Exists says whether at least one of the two files exists.
func (e PairEntry) Exists() bool { return e.Key.Node.Exists || e.Cert.Node.Exists }

// Pair returns the files of p. The caller may change them through the pointer.
func (d *Dir) Pair(p Pair) *PairEntry {
	switch p {
	case HostECDSA:
		return &d.Second
	case Client:
		return &d.Client
	}
	return &d.PairEntry
}
