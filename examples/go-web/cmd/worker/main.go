// Command worker has no route; `cf scale go-web --process worker -i 1` starts it.
package main

import (
	"log"
	"time"

	"example.com/go-web/internal/clock"
)

func main() {
	for range time.Tick(10 * time.Second) {
		log.Printf("worked for %v seconds", clock.Up("s"))
	}
}
