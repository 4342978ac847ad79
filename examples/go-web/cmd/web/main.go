// Command web answers requests; it is the process "web".
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"runtime"

	"example.com/go-web/internal/clock"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

func main() {
	router := chi.NewRouter()
	router.Use(middleware.Recoverer)
	router.Get("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "Hello from %s! This is instance %s.\n", runtime.Version(), os.Getenv("CF_INSTANCE_INDEX"))
	})
	router.Get("/up/{unit}", func(w http.ResponseWriter, request *http.Request) {
		w.Header().Set("content-type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"up": clock.Up(chi.URLParam(request, "unit"))})
	})
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	log.Fatal(http.ListenAndServe(":"+port, router))
}
