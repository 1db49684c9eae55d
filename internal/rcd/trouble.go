package rcd

import (
	"time"

	"github.com/hashicorp/go-hclog"
)

// tellAgain is how often the log repeats what is still wrong.
const tellAgain = time.Hour

// trouble is what the last look failed with; a log that says the same each
// minute is read by nobody.
type trouble struct {
	text string
	at   time.Time // when it was last told
}

// tell logs an error when it is new, once an hour while it stays, and that it
// is over.
func (t *trouble) tell(log hclog.Logger, err error, now time.Time) {
	switch {
	case err == nil && t.text != "":
		log.Info("this problem is solved", "error", t.text)
		*t = trouble{}
	case err == nil:
	case err.Error() == t.text && !now.Before(t.at) && now.Sub(t.at) < tellAgain:
		log.Debug("the problem continues", "error", t.text)
	default:
		*t = trouble{err.Error(), now}
		log.Error("there is a problem", "error", t.text)
	}
}
