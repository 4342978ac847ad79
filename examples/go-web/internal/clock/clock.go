// Package clock tells how long the program runs.
package clock

import "time"

var started = time.Now()

// Up is the time since the start in minutes ("m") or else in seconds.
func Up(unit string) float64 {
	if unit == "m" {
		return time.Since(started).Minutes()
	}
	return time.Since(started).Seconds()
}
