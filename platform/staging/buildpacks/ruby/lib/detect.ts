/** bin/detect of the ruby buildpack, when there is a file of the language. */
import { detectLanguage } from '../../../lifecycle/version-choice.ts';
import { chooseRuby } from './version.ts';

detectLanguage('ruby', chooseRuby(process.env));
