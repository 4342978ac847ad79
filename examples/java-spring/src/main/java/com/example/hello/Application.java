package com.example.hello;

import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

@SpringBootApplication
@RestController
public class Application {
  public static void main(String[] args) {
    SpringApplication.run(Application.class, args);
  }

  @GetMapping("/")
  String hello() {
    return "Hello from Java " + Runtime.version().feature() + "!\n";
  }

  /** What the container left to the heap. */
  @GetMapping("/memory")
  Map<String, Long> memory() {
    return Map.of("heapMb", Runtime.getRuntime().maxMemory() / 1_048_576);
  }
}
