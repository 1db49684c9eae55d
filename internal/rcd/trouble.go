package rcd

import (
	"time"

	"github.com/hashicorp/go-hclog"
)

// tellAgain is how often the log repeats an error that continues.
const tellAgain = time.Hour

// trouble is the error of the last look. The log does not repeat it at every look, because nobody reads a log full of
// repetitions.
type trouble struct {
	text string
	at   time.Time // when it was last logged as an error
}

// tell logs an error when it is new, again every hour while it stays, and that it is solved.
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
