<?php

declare(strict_types=1);

use App\Greeting;
use FastRoute\Dispatcher;
use FastRoute\RouteCollector;

use function FastRoute\simpleDispatcher;

require __DIR__ . '/../vendor/autoload.php';

$dispatcher = simpleDispatcher(function (RouteCollector $routes): void {
    $routes->get('/', fn (): string => Greeting::text());
    $routes->get('/up/{word}', function (array $given): string {
        header('Content-Type: application/json');
        return json_encode(['up' => mb_strtoupper($given['word'])]);
    });
});

$path = rawurldecode(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH));
$found = $dispatcher->dispatch($_SERVER['REQUEST_METHOD'], $path);
if ($found[0] === Dispatcher::FOUND) {
    echo $found[1]($found[2]);
} else {
    http_response_code($found[0] === Dispatcher::METHOD_NOT_ALLOWED ? 405 : 404);
    echo "There is nothing here.\n";
}
